package docker

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// tmpfsOptions of /tmp, the one place that every game may write beside its state.
const tmpfsOptions = "rw,noexec,nosuid,nodev,size=64m"

var errNoSpec = errors.New("a container needs a name, an image and a network")

// toConfig is where the security defaults stand: nothing in a ContainerSpec can
// undo them, but for the capabilities that it adds and the read-only root.
//
// There is no init process in front of the game: it would need docker-init on
// the engine's host, which not every package of Docker brings, and a game is
// one process that gets its signals itself.
func toConfig(spec engine.ContainerSpec) (*container.Config, *container.HostConfig, *network.NetworkingConfig, error) {
	if spec.Name == "" || spec.Image == "" || spec.Network == "" {
		return nil, nil, nil, errNoSpec
	}
	exposed, published := toPorts(spec.Ports)
	config := &container.Config{
		Hostname:     hostname(spec.Name),
		Image:        spec.Image,
		Entrypoint:   spec.Entrypoint,
		Cmd:          spec.Args,
		Env:          spec.Env,
		WorkingDir:   spec.WorkingDir,
		User:         spec.User,
		StopSignal:   spec.StopSignal,
		Labels:       spec.Labels,
		ExposedPorts: exposed,
	}
	host := &container.HostConfig{
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		Resources:      toResources(spec.Resources),
		NetworkMode:    container.NetworkMode(spec.Network),
		PortBindings:   published,
		CapDrop:        []string{"ALL"},
		CapAdd:         spec.AddCapabilities,
		SecurityOpt:    []string{"no-new-privileges:true"},
		ReadonlyRootfs: spec.ReadOnlyRoot,
		Tmpfs:          map[string]string{"/tmp": tmpfsOptions},
		LogConfig:      container.LogConfig{Type: "local", Config: map[string]string{"max-size": "10m", "max-file": "2"}},
	}
	if spec.StateTarget != "" {
		// A mount, unlike a bind, does not make up a source that is missing.
		host.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: spec.StateSource, Target: path.Clean(spec.StateTarget)}}
	}
	net := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		spec.Network: {Aliases: []string{spec.Alias}},
	}}
	return config, host, net, nil
}

// hostname is the game's name: the first part of its container's.
func hostname(containerName string) string {
	game, _, _ := strings.Cut(containerName, ".")
	return game
}

func toPorts(ports []engine.PortSpec) (nat.PortSet, nat.PortMap) {
	exposed, published := nat.PortSet{}, nat.PortMap{}
	for _, p := range ports {
		port := nat.Port(strconv.Itoa(int(p.Port)) + "/" + p.Protocol)
		exposed[port] = struct{}{}
		if p.HostPort == nil {
			continue
		}
		binding := nat.PortBinding{} // an empty host port is one that the engine picks
		if *p.HostPort != 0 {
			binding.HostPort = strconv.Itoa(int(*p.HostPort))
		}
		published[port] = append(published[port], binding)
	}
	return exposed, published
}

func toResources(r engine.Resources) container.Resources {
	resources := container.Resources{NanoCPUs: r.NanoCPUs, Memory: r.MemoryBytes, MemorySwap: r.MemoryBytes}
	if r.Pids > 0 {
		resources.PidsLimit = &r.Pids
	}
	return resources
}

func fromSummary(s container.Summary) engine.Container {
	c := engine.Container{
		ID: s.ID, Image: s.Image, ImageID: s.ImageID, State: engine.State(s.State), CreatedAt: time.Unix(s.Created, 0).UTC(),
	}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	readLabels(&c, s.Labels)
	return c
}

func fromInspect(found container.InspectResponse) engine.Container {
	c := engine.Container{
		ID: found.ID, Name: strings.TrimPrefix(found.Name, "/"), Image: found.Config.Image, ImageID: found.Image,
		State: engine.State(found.State.Status), CreatedAt: parseTime(found.Created), StartedAt: parseTime(found.State.StartedAt),
		Exit: exit(found.State), Made: made(found), Beyond: beyond(found), Inspected: true,
		SelfRestarts: !found.HostConfig.RestartPolicy.IsNone(),
	}
	c.Resources = c.Made.Resources
	readLabels(&c, found.Config.Labels)
	if c.State != engine.StateRunning && c.State != engine.StatePaused {
		return c
	}
	if _, endpoint := homeNetwork(found); endpoint != nil {
		c.IP = endpoint.IPAddress
	}
	c.HostPorts = hostPorts(found.NetworkSettings.Ports)
	c.Health = health(found)
	return c
}

func readLabels(c *engine.Container, labels map[string]string) {
	c.Installation = labels[v1alpha1.LabelInstallation]
	c.Game = engine.GameID{Namespace: labels[v1alpha1.LabelNamespace], Name: labels[v1alpha1.LabelGame]}
	c.UID = labels[v1alpha1.LabelUID]
	c.Operation = labels[v1alpha1.LabelOperation]
	c.SpecHash = labels[v1alpha1.LabelSpecHash]
	c.Generation, _ = strconv.ParseInt(labels[v1alpha1.LabelGeneration], 10, 64) // 0 is no generation
}

// exit is how a container ended; a first start that failed leaves it created,
// with an error.
func exit(state *container.State) *engine.Exit {
	status := engine.State(state.Status)
	ended := status == engine.StateExited || status == engine.StateDead
	failed := status == engine.StateCreated && state.Error != ""
	if !ended && !failed {
		return nil
	}
	e := &engine.Exit{
		Code: int32(state.ExitCode), OOMKilled: state.OOMKilled, Error: tidy(state.Error), FinishedAt: parseTime(state.FinishedAt),
	}
	// Docker notes a start once it is over, and a short run may be over before.
	if started := parseTime(state.StartedAt); !e.FinishedAt.IsZero() && !e.FinishedAt.After(started) {
		e.FinishedAt = started.Add(time.Microsecond)
	}
	if e.Error != "" {
		e.StartKind = startKind(state.Error)
	}
	return e
}

func fromResources(r container.Resources) engine.Resources {
	resources := engine.Resources{NanoCPUs: r.NanoCPUs, MemoryBytes: r.Memory}
	if r.PidsLimit != nil {
		resources.Pids = *r.PidsLimit
	}
	return resources
}

func hostPorts(ports nat.PortMap) map[engine.PortKey]int32 {
	published := map[engine.PortKey]int32{}
	for port, bindings := range ports {
		if len(bindings) == 0 {
			continue // exposed, not published
		}
		host, err := strconv.ParseInt(bindings[0].HostPort, 10, 32) // further ones are other addresses of the host
		if err == nil {
			published[portKey(port)] = int32(host)
		}
	}
	if len(published) == 0 {
		return nil
	}
	return published
}

// parseTime reads an engine's time; zero if there is none.
func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
