package main

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/yaml"
)

var games = schema.GroupVersionResource{Group: "runtime.galaxy.io", Version: "v1alpha1", Resource: "gameruntimes"}

const namespace = "default"

// record is an object that one client owns: nobody else writes it.
type record struct {
	name string
	// current is the object as the last write returned it.
	current *unstructured.Unstructured
	writes  int
}

// stamp travels inside an object, so that a watcher, in whatever process, knows
// which write it sees and how old that is.
type stamp struct {
	// write counts the writes of this object, from 1.
	write int
	// sent is when the write was begun.
	sent time.Time
}

const stampKey = "bench/stamp"

func (r *record) stamp() string {
	r.writes++
	return fmt.Sprintf("%d %d", r.writes, time.Now().UnixNano())
}

// stampOf reads what the last write left: a creation in an annotation, an update
// in the status.
func stampOf(u *unstructured.Unstructured) (s stamp, err error) {
	text, updated, _ := unstructured.NestedString(u.Object, "status", "container", "id")
	if !updated {
		text = u.GetAnnotations()[stampKey]
	}
	var nanoseconds int64
	if _, err := fmt.Sscanf(text, "%d %d", &s.write, &nanoseconds); err != nil {
		return s, fmt.Errorf("the stamp %q of %s: %w", text, u.GetName(), err)
	}
	s.sent = time.Unix(0, nanoseconds)
	return s, nil
}

// templates are games as people declare them: one with an image and nothing
// else, which leaves the API server the least to do, and one with all that a game
// of a platform's has.
var templates = map[string]string{"minimal": `
apiVersion: runtime.galaxy.io/v1alpha1
kind: GameRuntime
metadata:
  namespace: default
spec:
  image: registry.galaxy.io/games/chess-engine:1.0.0
`, "full": `
apiVersion: runtime.galaxy.io/v1alpha1
kind: GameRuntime
metadata:
  namespace: default
  labels: {app.kubernetes.io/name: chess, app.kubernetes.io/part-of: galaxy, galaxy.io/tier: standard}
spec:
  image: registry.galaxy.io/games/chess-engine:1.0.0
  args: [--board, standard, --listen, ":8080"]
  env:
    - {name: TURN_EVERY, value: 10s}
    - {name: LOG_LEVEL, value: info}
    - {name: LOBBY_URL, value: "http://lobby.galaxy.internal:8080/v1"}
    - {name: PLAYERS, value: "2"}
  ports:
    - {name: http, containerPort: 8080, hostPort: 0}
  resources: {cpu: 250m, memory: 64Mi}
  stopGracePeriodSeconds: 5
  probes:
    startup: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 30}
    liveness: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 5}
    readiness: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 2}
`}

// parse reads a template.
func parse(template string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(templates[template]), &u.Object); err != nil {
		panic(err) // the templates are constants
	}
	return u
}

// create is the object of a first write.
func (r *record) create(template *unstructured.Unstructured) *unstructured.Unstructured {
	u := template.DeepCopy()
	u.SetName(r.name)
	u.SetUID(uuid.NewUUID())
	u.SetAnnotations(map[string]string{stampKey: r.stamp()})
	spec := u.Object["spec"].(map[string]any)
	if env, ok := spec["env"].([]any); ok {
		spec["env"] = append(env, map[string]any{"name": "GAME", "value": r.name})
	}
	return u
}

// status is what an update writes: a report of the manager's, as after a start.
func (r *record) status(template *unstructured.Unstructured) map[string]any {
	container := map[string]any{"id": r.stamp(), "name": r.name, "state": "running"}
	status := map[string]any{"phase": "Running", "restarts": int64(r.writes), "container": container}
	if template.GetLabels() == nil {
		return status
	}
	now := time.Now().UTC().Format(time.RFC3339)
	condition := func(kind, reason string) any {
		return map[string]any{
			"type": kind, "status": "True", "reason": reason, "message": "", "observedGeneration": int64(1), "lastTransitionTime": now,
		}
	}
	status["observedGeneration"] = int64(1)
	status["conditions"] = []any{condition("Ready", "Running"), condition("Healthy", "ProbesSucceed"), condition("InSync", "AsDeclared")}
	container["image"], container["endpoint"] = "registry.galaxy.io/games/chess-engine:1.0.0", "http://"+r.name+":8080"
	return status
}
