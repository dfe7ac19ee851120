package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// field is what one part of a record comes to in a container. The label that a
// container is made with and the drift that is reported read the same row.
type field struct {
	// path is the field of the record's spec, or what it is else.
	path string
	// value is what a container specification holds of it: the one that is
	// asked for and the one that the engine shows alike.
	value func(engine.ContainerSpec) any
	// private keeps the value from being told.
	private bool
}

// recreated are the fields that no engine changes in a container that is there.
var recreated = []field{
	{path: "image", value: func(s engine.ContainerSpec) any { return s.Image }},
	{path: "command", value: func(s engine.ContainerSpec) any { return s.Entrypoint }},
	{path: "args", value: func(s engine.ContainerSpec) any { return s.Args }},
	{path: "env", value: func(s engine.ContainerSpec) any { return s.Env }},
	{path: "workingDir", value: func(s engine.ContainerSpec) any { return s.WorkingDir }},
	{path: "ports", value: func(s engine.ContainerSpec) any { return s.Ports }},
	{path: "securityContext.runAsUser", value: func(s engine.ContainerSpec) any { return s.User }},
	{path: "securityContext.readOnlyRootFilesystem", value: func(s engine.ContainerSpec) any { return s.ReadOnlyRoot }},
	{path: "securityContext.capabilities.add", value: func(s engine.ContainerSpec) any { return s.AddCapabilities }},
	{path: "storage.mountPath", value: func(s engine.ContainerSpec) any { return s.StateTarget }},
	{path: statePath, value: func(s engine.ContainerSpec) any { return s.StateSource }, private: true},
	{path: networkPath, value: func(s engine.ContainerSpec) any { return s.Network }},
	// No record asks for more than the defaults; an adopted container may have it.
	{path: isolationPath, value: func(engine.ContainerSpec) any { return nil }},
}

const (
	networkPath   = "network"
	statePath     = "state directory"
	isolationPath = "isolation"
)

// restartedAtPath is the one field that asks for a new container and shows in none.
const restartedAtPath = "restartedAt"

// SpecHash digests, field by field, all that makes a recreate necessary:
// "image=0123456789ab;command=…". A container carries that of the record it was
// made from, so that what an image or an engine adds of its own is no drift.
func SpecHash(record *v1alpha1.GameRuntime, settings Settings) string {
	spec := unlabelled(record, settings)
	var text strings.Builder
	for _, f := range recreated {
		fmt.Fprintf(&text, "%s=%s;", f.path, digest(f.value(spec)))
	}
	fmt.Fprintf(&text, "%s=%s", restartedAtPath, digest(restartedAt(record)))
	return text.String()
}

func restartedAt(record *v1alpha1.GameRuntime) string {
	if at := record.Spec.RestartedAt; at != nil {
		return at.UTC().Format(time.RFC3339)
	}
	return ""
}

func digest(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("plan: a container specification is plain data: %v", err))
	}
	if string(text) == "[]" {
		text = []byte("null") // an empty list and none are the same
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// compare lists the fields in which two digests of specifications differ. A
// field that only one of them has was not known to whoever wrote the other; two
// that have none in common cannot be compared.
func compare(have, want string) (differ []string, comparable bool) {
	if have == want {
		return nil, true
	}
	known := map[string]string{}
	for part := range strings.SplitSeq(have, ";") {
		path, sum, _ := strings.Cut(part, "=")
		known[path] = sum
	}
	for part := range strings.SplitSeq(want, ";") {
		path, sum, _ := strings.Cut(part, "=")
		was, ok := known[path]
		comparable = comparable || ok
		if ok && was != sum {
			differ = append(differ, path)
		}
	}
	return differ, comparable
}

// outdated says that a container was not made from the record as it is, or is
// cut off from its network, which it cannot join again.
func outdated(in Input, c *engine.Container) bool {
	if disconnected(c) {
		return true
	}
	differ, comparable := compare(c.SpecHash, SpecHash(in.Record, in.Settings))
	return c.UID != string(in.Record.UID) || !comparable || len(differ) > 0
}

// disconnected says that somebody took a container off its network. It still is
// once we stopped it for that: to start it again would bring nothing back.
func disconnected(c *engine.Container) bool {
	return c.Made != nil && c.Made.Network == ""
}

// shortHash is a SpecHash in one word, for the status.
func shortHash(specHash string) string {
	sum := sha256.Sum256([]byte(specHash))
	return hex.EncodeToString(sum[:8])
}
