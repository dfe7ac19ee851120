package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// The groups whose members may do something. Admins may do everything, as may the
// user of the kubeconfig in the data directory; writers declare games, viewers look.
// Controllers are managers: they alone write status.
const (
	GroupAdmins      = "galaxy:admins"
	GroupWriters     = "galaxy:writers"
	GroupViewers     = "galaxy:viewers"
	GroupControllers = "galaxy:controllers"
)

// What can be done with most resources.
const (
	look    = "get list watch"
	declare = look + " create update patch delete"
)

// grant is what may be done with a resource or, after a slash, a subresource, by the
// members of each group, in every namespace alike. Verbs are parted by spaces.
type grant struct {
	group, resource                         string
	viewers, writers, controllers, everyone string
}

// grants is who may do what. What has no line here, or no verb in it, is for admins
// alone: namespaces are made by them, definitions are theirs, they impersonate.
//
// Controllers are held to config/rbac/role.yaml, which a manager has on a cluster.
// They declare games, too: what the services ask for over REST and by jobs is written
// by the manager that was asked.
var grants = []grant{
	// viewers, writers, controllers, everyone who is known
	{v1alpha1.GroupVersion.Group, "gameruntimes", look, declare, declare, ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/status", "get", "get", "get update patch", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/finalizers", "", "", "update", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/history", "get", "get", "", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/log", "get", "get", "", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/stats", "get", "get", "", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/plan", "create", "create", "", ""},
	{v1alpha1.GroupVersion.Group, "gameruntimes/exec", "", "", "", ""}, // a shell can change a game's state
	{v1alpha1.GroupVersion.Group, "driftreports", look, look, look + " create", ""},
	{v1alpha1.GroupVersion.Group, "driftreports/status", "get", "get", "update", ""},
	{corev1.GroupName, "namespaces", look, look, look, ""},
	{corev1.GroupName, "events", look, look, "", ""},
	{eventsv1.GroupName, "events", look, look, "create patch", ""},
	{coordinationv1.GroupName, "leases", look, look, "get create update", ""},
	{authenticationv1.GroupName, "selfsubjectreviews", "", "", "", "create"},
	{authorizationv1.GroupName, "selfsubjectaccessreviews", "", "", "", "create"},
	{authorizationv1.GroupName, "selfsubjectrulesreviews", "", "", "", "create"},
}

// probePaths answer anybody: a load balancer has no certificate. They name
// the dependencies that fail, and withhold why.
var probePaths = []string{"/healthz", "/livez", "/readyz"}

// discoveryPaths answer whoever is authenticated: without them no client
// knows what it could ask for.
var discoveryPaths = []string{
	"/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/version/",
}

// roles are the groups that grants tells of.
var roles = []struct {
	group string
	may   func(grant) string
}{
	{GroupViewers, func(g grant) string { return g.viewers }},
	{GroupWriters, func(g grant) string { return g.writers }},
	{GroupControllers, func(g grant) string { return g.controllers }},
	{user.AllAuthenticated, func(g grant) string { return g.everyone }},
}

// privileged says that the members of these groups may do everything.
func privileged(groups []string) bool {
	return slices.Contains(groups, GroupAdmins) || slices.Contains(groups, user.SystemPrivilegedGroup)
}

// verbs is what the members of these groups may do by this line.
func (g grant) verbs(groups []string) []string {
	var all []string
	for _, role := range roles {
		if slices.Contains(groups, role.group) {
			all = append(all, strings.Fields(role.may(g))...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// paths is what the members of these groups may ask for besides resources.
func paths(groups []string) []string {
	if !slices.Contains(groups, user.AllAuthenticated) {
		return probePaths
	}
	all := slices.Concat(probePaths, discoveryPaths)
	if slices.ContainsFunc(groups, func(group string) bool {
		return group == GroupViewers || group == GroupWriters || group == GroupControllers
	}) {
		all = append(all, "/metrics")
	}
	return all
}

// authorize allows what the tables do. What nobody allows is refused.
func authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	groups := a.GetUser().GetGroups()
	if privileged(groups) {
		return authorizer.DecisionAllow, "", nil
	}
	if !a.IsResourceRequest() {
		under := func(pattern string) bool {
			prefix, below := strings.CutSuffix(pattern, "*")
			return a.GetPath() == pattern || below && strings.HasPrefix(a.GetPath(), prefix)
		}
		if a.GetVerb() == "get" && slices.ContainsFunc(paths(groups), under) {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	}
	verbs := resourceVerbs(a, groups)
	if slices.Contains(verbs, a.GetVerb()) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, refusal(groups, verbs), nil
}

func resourceVerbs(a authorizer.Attributes, groups []string) []string {
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	for _, g := range grants {
		if g.group == a.GetAPIGroup() && g.resource == resource {
			return g.verbs(groups)
		}
	}
	return nil
}

// refusal tells somebody what they may do instead, and nothing of others. Upstream
// says before it who may not do what.
func refusal(groups, verbs []string) string {
	var held []string
	for _, role := range roles {
		if role.group != user.AllAuthenticated && slices.Contains(groups, role.group) {
			held = append(held, role.group)
		}
	}
	switch {
	case len(held) == 0:
		return "the user is in no group that has a role here"
	case len(verbs) == 0:
		return fmt.Sprintf("%s may do nothing with it", strings.Join(held, " and "))
	}
	return fmt.Sprintf("%s may %s it", strings.Join(held, " and "), strings.Join(verbs, ", "))
}

// rulesFor is all that the members of these groups may do, in each namespace.
func rulesFor(groups []string) ([]authorizationv1.ResourceRule, []authorizationv1.NonResourceRule) {
	if privileged(groups) {
		all := []string{"*"}
		return []authorizationv1.ResourceRule{{Verbs: all, APIGroups: all, Resources: all}},
			[]authorizationv1.NonResourceRule{{Verbs: all, NonResourceURLs: all}}
	}
	resources := []authorizationv1.ResourceRule{}
	for _, g := range grants {
		if verbs := g.verbs(groups); len(verbs) > 0 {
			resources = append(resources, authorizationv1.ResourceRule{
				Verbs: verbs, APIGroups: []string{g.group}, Resources: []string{g.resource},
			})
		}
	}
	return resources, []authorizationv1.NonResourceRule{{Verbs: []string{"get"}, NonResourceURLs: paths(groups)}}
}
