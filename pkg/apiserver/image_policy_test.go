package apiserver

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const someDigest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// imageSpec is a spec with an image, and with an update policy unless that is empty.
func imageSpec(image, policy string) map[string]any {
	spec := map[string]any{"image": image}
	if policy != "" {
		spec["update"] = map[string]any{"policy": policy}
	}
	return spec
}

func testImageVersion(t *testing.T, a *api) {
	records := a.games(a.namespace("image-version"))
	refused := func(t *testing.T, image, policy string) {
		_, err := records.Create(t.Context(), game("chess", with(imageSpec(image, policy))), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		requireStatus(t, err, 422, "spec.image: Required value: ")
		requireStatus(t, err, 422, image+" has no semantic version as its tag")
		requireStatus(t, err, 422, "set update.policy to Any")
	}
	accepted := func(t *testing.T, image, policy string) {
		_, err := records.Create(t.Context(), game("chess", with(imageSpec(image, policy))), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err)
	}
	for image, check := range map[string]func(t *testing.T, image, policy string){
		"galaxy/chess:1.2.3":                      accepted,
		"chess:0.0.0":                             accepted,
		"galaxy/chess:v1.2.3":                     accepted,
		"galaxy/chess:1.2.3-rc.1":                 accepted,
		"galaxy/chess:1.2.3-20240101--x":          accepted,
		"galaxy/chess:1.2.3" + someDigest:         accepted,
		"localhost:5000/chess:1.2.3":              accepted,
		"registry.galaxy.io:5000/a/b:v10.20.30":   accepted,
		"galaxy/chess":                            refused,
		"galaxy/chess" + someDigest:               refused,
		"galaxy/chess:latest":                     refused,
		"galaxy/chess:latest" + someDigest:        refused,
		"galaxy/chess:1":                          refused,
		"galaxy/chess:1.2":                        refused,
		"galaxy/chess:1.2.3.4":                    refused,
		"galaxy/chess:1.02.3":                     refused,
		"galaxy/chess:1.2.3-":                     refused,
		"galaxy/chess:1.2.3-rc..1":                refused,
		"galaxy/chess:1.2.3_4":                    refused,
		"galaxy/chess:V1.2.3":                     refused,
		"localhost:5000/chess":                    refused,
		"127.0.0.1:5000/chess:stable":             refused,
		"registry.galaxy.io:5000/1.2.3/chess:new": refused,
	} {
		t.Run(image, func(t *testing.T) {
			for _, policy := range []string{"", "Patch", "Minor"} {
				check(t, image, policy)
			}
			accepted(t, image, "Any")
		})
	}
}

func testImageDistance(t *testing.T, a *api) {
	const chess = "galaxy/chess"
	type write struct{ image, policy string }
	records := a.games(a.namespace("image-distance"))
	for record, c := range map[string]struct {
		from, to write
		refused  string
	}{
		"a-patch":                           {from: write{chess + ":1.2.3", ""}, to: write{chess + ":1.2.10", ""}},
		"a-patch-down":                      {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":1.2.0", "Patch"}},
		"a-release-of-its-candidate":        {from: write{chess + ":1.2.3-rc.1", "Patch"}, to: write{chess + ":1.2.3", "Patch"}},
		"the-same-version-with-a-v":         {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":v1.2.3", "Patch"}},
		"a-digest-put-to-it":                {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":1.2.3" + someDigest, "Patch"}},
		"a-digest-taken-off":                {from: write{chess + ":1.2.3" + someDigest, "Patch"}, to: write{chess + ":1.2.4", "Patch"}},
		"another-registry":                  {from: write{"127.0.0.1:5000/chess:1.2.3", "Patch"}, to: write{"mirror:1234/chess:1.2.4", "Patch"}},
		"a-minor-version":                   {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":1.3.0", "Patch"}, refused: "Patch"},
		"a-minor-version-by-default":        {from: write{chess + ":1.2.3", ""}, to: write{chess + ":1.3.0", ""}, refused: "Patch"},
		"a-minor-version-that-begins-alike": {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":1.20.3", "Patch"}, refused: "Patch"},
		"a-minor-version-that-ends-alike":   {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":11.2.3", "Patch"}, refused: "Patch"},
		"a-minor-version-by-a-v":            {from: write{chess + ":v1.2.3", "Patch"}, to: write{chess + ":v1.3.3", "Patch"}, refused: "Patch"},
		"a-minor-version-by-a-digest":       {from: write{chess + ":1.2.3" + someDigest, "Patch"}, to: write{chess + ":1.3.3" + someDigest, "Patch"}, refused: "Patch"},
		"a-minor-version-allowed":           {from: write{chess + ":1.2.3", "Minor"}, to: write{chess + ":1.30.0", "Minor"}},
		"a-minor-version-down":              {from: write{chess + ":1.2.3", "Minor"}, to: write{chess + ":1.0.0-rc.1", "Minor"}},
		"a-major-version":                   {from: write{chess + ":1.2.3", "Minor"}, to: write{chess + ":2.0.0", "Minor"}, refused: "Minor"},
		"a-major-version-down":              {from: write{chess + ":1.2.3", "Minor"}, to: write{chess + ":0.2.3", "Minor"}, refused: "Minor"},
		"a-major-version-that-begins-alike": {from: write{chess + ":1.2.3", "Minor"}, to: write{chess + ":12.2.3", "Minor"}, refused: "Minor"},
		"anything":                          {from: write{chess + ":1.2.3", "Any"}, to: write{chess + ":latest", "Any"}},
		"widened-to-minor-with-it":          {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":1.3.0", "Minor"}},
		"widened-to-any-with-it":            {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":2.0.0", "Any"}},
		"not-widened-enough":                {from: write{chess + ":1.2.3", "Patch"}, to: write{chess + ":2.0.0", "Minor"}, refused: "Minor"},
		"narrowed-with-it":                  {from: write{chess + ":1.2.3", "Any"}, to: write{chess + ":2.0.0", "Patch"}, refused: "Patch"},
		"narrowed-with-the-first-version":   {from: write{chess + ":latest", "Any"}, to: write{chess + ":1.2.3", "Patch"}},
		"narrowed-from-a-calendar-version":  {from: write{chess + ":2026.10.05", "Any"}, to: write{chess + ":1.2.3", "Minor"}},
		"narrowed-from-a-digest":            {from: write{chess + someDigest, "Any"}, to: write{chess + ":1.2.3", "Patch"}},
		"narrowed-at-the-version-that-is":   {from: write{chess + ":1.2.3", "Any"}, to: write{chess + ":1.2.3", "Patch"}},
	} {
		t.Run(record, func(t *testing.T) {
			_, err := records.Create(t.Context(), game(record, with(imageSpec(c.from.image, c.from.policy))), metav1.CreateOptions{})
			require.NoError(t, err)
			err = rewrite(t, records, record, imageSpec(c.to.image, c.to.policy))
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			requireStatus(t, err, 422, "spec.image: Forbidden: ")
			requireStatus(t, err, 422, "from "+c.from.image+" to "+c.to.image+" is further than update.policy "+c.refused+" goes")
		})
	}
	t.Run("narrowed without a version", func(t *testing.T) {
		_, err := records.Create(t.Context(), game("latest", with(imageSpec(chess+":latest", "Any"))), metav1.CreateOptions{})
		require.NoError(t, err)
		err = rewrite(t, records, "latest", map[string]any{"update": map[string]any{"policy": "Minor"}})
		requireStatus(t, err, 422, chess+":latest has no semantic version as its tag")
	})
}

// rewrite merges fields into the spec of a record.
func rewrite(t *testing.T, records dynamic.ResourceInterface, name string, spec map[string]any) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"spec": spec})
	require.NoError(t, err)
	_, err = records.Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
