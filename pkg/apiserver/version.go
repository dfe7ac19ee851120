package apiserver

import (
	"regexp"

	"k8s.io/apimachinery/pkg/version"
	"k8s.io/component-base/compatibility"
	baseversion "k8s.io/component-base/version"
)

// effectiveVersion answers /version. Clients judge by the Kubernetes version
// what a server can do, so that is what the number says; which build of ours
// it is stands behind the plus sign. Upstream takes both from linker flags.
type effectiveVersion struct {
	compatibility.EffectiveVersion
	gitVersion string
}

// notInBuildMetadata is what semantic versions forbid behind the plus sign.
var notInBuildMetadata = regexp.MustCompile(`[^0-9A-Za-z.-]+`)

func newEffectiveVersion(build string) effectiveVersion {
	kubernetes := baseversion.DefaultKubeBinaryVersion + ".0"
	suffix := "+runtime-manager"
	if build != "" {
		suffix += "." + notInBuildMetadata.ReplaceAllString(build, "-")
	}
	return effectiveVersion{
		EffectiveVersion: compatibility.NewEffectiveVersionFromString(kubernetes, "", ""),
		gitVersion:       "v" + kubernetes + suffix,
	}
}

// Info is upstream's, with a version that parses.
func (v effectiveVersion) Info() *version.Info {
	info := v.EffectiveVersion.Info()
	info.GitVersion = v.gitVersion
	// Without linker flags these hold placeholders.
	info.GitCommit, info.BuildDate = "", ""
	return info
}
