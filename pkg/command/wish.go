package command

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// managerPrefix begins the field manager of every caller: galaxy-lobby writes what
// lobby wishes, and stands in the game's history as who asked.
const managerPrefix = "galaxy-"

func (w Wish) manager() string { return managerPrefix + w.Caller }

// Check refuses what no record could be asked for, with an *Error. Every method of a
// Commander begins with it.
func (w Wish) Check() error {
	for _, name := range []struct{ field, value string }{{"game", w.Game}, {"caller", w.Caller}} {
		if !isLabel(name.value) {
			return invalid(name.field, notALabel)
		}
	}
	const longest = 128
	if len(w.ID) > longest || strings.ContainsFunc(w.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return invalid("id", "must be at most %d printable characters of ASCII, without blanks", longest)
	}
	return nil
}

// notALabel is what the schema of the records says of such a name, too.
const notALabel = "must be a DNS label: at most 63 lower-case letters, digits and hyphens"

func isLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// meant refuses a wish that is for another revision of the record.
func (w Wish) meant(record *v1alpha1.GameRuntime) error {
	have := ""
	if record != nil {
		have = record.ResourceVersion
	}
	if w.Revision == "" || w.Revision == have {
		return nil
	}
	return &Error{Code: v1alpha1.CodeConflict, Field: "revision", Message: "the record is at another one: " + have}
}

// declared are the fields that a start names.
func (s Start) declared() (map[string]any, error) {
	fields := map[string]any{}
	if s.Spec != nil {
		if err := decode(s.Spec, &fields); err != nil {
			return nil, err
		}
	}
	if state, named := fields["state"]; named && state != string(v1alpha1.StateRunning) {
		return nil, invalid("spec.state", "a start asks for %s", v1alpha1.StateRunning)
	}
	fields["state"] = string(v1alpha1.StateRunning)
	if image, named := fields["image"]; named && s.Image != "" && image != s.Image {
		return nil, invalid("spec.image", "is not the image of the start")
	}
	if s.Image != "" {
		fields["image"] = s.Image
	}
	return fields, nil
}

// decode takes a JSON object for fields of a spec. What a field holds is for the
// API server to judge, that it is one is told here, by its path.
func decode(spec []byte, fields *map[string]any) error {
	if err := kjson.UnmarshalCaseSensitivePreserveInts(spec, fields); err != nil {
		return invalid("spec", "not a JSON object: %v", err)
	}
	if *fields == nil {
		return invalid("spec", "must be a JSON object, is null")
	}
	unknown, _ := kjson.UnmarshalStrict(spec, &v1alpha1.GameRuntimeSpec{}) // what else is wrong is the API server's to say
	var field kjson.FieldError
	if len(unknown) == 0 || !errors.As(unknown[0], &field) {
		return nil
	}
	field.SetFieldPath("spec." + field.FieldPath())
	return invalid(field.FieldPath(), "%v", field)
}
