package plan

import (
	"fmt"
	"path"
	"sort"
	"strconv"
	"strings"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
)

// ContainerName is unique on an engine that several installations share, and
// ambiguous for no pair of namespace and name: neither holds a dot.
func ContainerName(game engine.GameID, installation string) string {
	return game.Name + "." + game.Namespace + "." + shortID(installation)
}

// NetworkName is the name of an installation's network.
func NetworkName(installation string) string { return "galaxy." + shortID(installation) }

// shortID is enough of an installation's uid to tell a few of them apart.
func shortID(installation string) string { return installation[:min(8, len(installation))] }

// Alias is the game's name on the installation's network.
func Alias(game engine.GameID) string { return game.Name + "." + game.Namespace }

// StateDir is the game's state directory on the engine's host.
func StateDir(root string, game engine.GameID) string {
	return path.Join(root, game.Namespace, game.Name)
}

// ContainerSpec is the container that a record asks for.
func ContainerSpec(record *v1alpha1.GameRuntime, settings Settings) engine.ContainerSpec {
	game := GameOf(record)
	spec := unlabelled(record, settings)
	spec.Labels = map[string]string{
		v1alpha1.LabelInstallation: settings.Installation,
		v1alpha1.LabelNamespace:    game.Namespace,
		v1alpha1.LabelGame:         game.Name,
		v1alpha1.LabelUID:          string(record.UID),
		v1alpha1.LabelGeneration:   strconv.FormatInt(record.Generation, 10),
		v1alpha1.LabelSpecHash:     SpecHash(record, settings),
	}
	return spec
}

func unlabelled(record *v1alpha1.GameRuntime, settings Settings) engine.ContainerSpec {
	game, spec := GameOf(record), &record.Spec
	return engine.ContainerSpec{
		Name:            ContainerName(game, settings.Installation),
		Image:           spec.Image,
		Entrypoint:      spec.Command,
		Args:            spec.Args,
		Env:             environment(spec),
		WorkingDir:      spec.WorkingDir,
		User:            user(spec.SecurityContext, settings.User),
		ReadOnlyRoot:    spec.SecurityContext.ReadOnlyRootFilesystem == nil || *spec.SecurityContext.ReadOnlyRootFilesystem,
		AddCapabilities: spec.SecurityContext.Capabilities.Add,
		StopSignal:      spec.StopSignal,
		Ports:           ports(spec.Ports),
		Resources:       resources(record),
		Network:         settings.Network,
		Alias:           Alias(game),
		StateSource:     StateDir(settings.StateRoot, game),
		StateTarget:     spec.Storage.MountPath,
	}
}

func environment(spec *v1alpha1.GameRuntimeSpec) []string {
	env := []string{"GAME_STATE_PATH=" + spec.Storage.MountPath}
	for _, v := range spec.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	sort.Strings(env)
	return env
}

func user(security v1alpha1.SecurityContext, fallback string) string {
	if security.RunAsUser == nil {
		return fallback
	}
	user := strconv.FormatInt(*security.RunAsUser, 10)
	if security.RunAsGroup != nil {
		user += ":" + strconv.FormatInt(*security.RunAsGroup, 10)
	}
	return user
}

func ports(declared []v1alpha1.Port) []engine.PortSpec {
	var ports []engine.PortSpec
	for _, p := range declared {
		ports = append(ports, engine.PortSpec{PortKey: portKey(p), HostPort: p.HostPort})
	}
	return ports
}

func portKey(p v1alpha1.Port) engine.PortKey {
	return engine.PortKey{Port: p.ContainerPort, Protocol: strings.ToLower(p.Protocol)}
}

func resources(record *v1alpha1.GameRuntime) engine.Resources {
	r := record.Spec.Resources
	return engine.Resources{
		NanoCPUs:    r.CPU.MilliValue() * 1_000_000,
		MemoryBytes: r.Memory.Value(),
		Pids:        r.Pids,
	}
}

// Endpoint is where the first TCP port is reached on the installation's
// network; empty if there is none.
func Endpoint(record *v1alpha1.GameRuntime) string {
	for _, p := range record.Spec.Ports {
		if strings.EqualFold(p.Protocol, "udp") {
			continue
		}
		return fmt.Sprintf("http://%s:%d", Alias(GameOf(record)), p.ContainerPort)
	}
	return ""
}
