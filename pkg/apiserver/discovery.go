package apiserver

import (
	"net/http"
	"slices"
	"strings"

	apiextensionshelpers "k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionslisters "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// installGroupList serves /apis. In Kubernetes that is kube-aggregator's work,
// which is why the apiextensions server switches it off.
func installGroupList(server *genericapiserver.GenericAPIServer, crds apiextensionslisters.CustomResourceDefinitionLister) {
	plain := groupList{server: server, crds: crds}
	both := aggregated.WrapAggregatedDiscoveryToHandler(plain, server.AggregatedDiscoveryGroupManager, nil)
	server.Handler.GoRestfulContainer.Add(both.GenerateWebService(genericapiserver.APIGroupPrefix, metav1.APIGroupList{}))
}

// groupList is the list of API groups in the form that clients older than
// aggregated discovery read. Upstream's list has no custom resources in it.
type groupList struct {
	server *genericapiserver.GenericAPIServer
	crds   apiextensionslisters.CustomResourceDefinitionLister
}

func (l groupList) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	groups, err := l.server.DiscoveryGroupManager.Groups(req.Context(), req)
	if err == nil {
		var custom []metav1.APIGroup
		custom, err = l.customGroups()
		groups = append(groups, custom...)
	}
	if err != nil {
		responsewriters.ErrorNegotiated(err, l.server.Serializer, schema.GroupVersion{}, w, req)
		return
	}
	list := discovery.NewRootAPIsHandler(discovery.DefaultAddresses{DefaultAddress: l.server.ExternalAddress}, l.server.Serializer)
	for _, g := range groups {
		list.AddGroup(g)
	}
	list.ServeHTTP(w, req)
}

// customGroups are the groups of the established CRDs, by name.
func (l groupList) customGroups() ([]metav1.APIGroup, error) {
	crds, err := l.crds.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	versions := map[string][]string{}
	for _, crd := range crds {
		if !apiextensionshelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Served && !slices.Contains(versions[crd.Spec.Group], v.Name) {
				versions[crd.Spec.Group] = append(versions[crd.Spec.Group], v.Name)
			}
		}
	}
	groups := make([]metav1.APIGroup, 0, len(versions))
	for name, served := range versions {
		slices.SortFunc(served, func(a, b string) int { return -version.CompareKubeAwareVersionStrings(a, b) })
		group := metav1.APIGroup{Name: name}
		for _, v := range served {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
		}
		group.PreferredVersion = group.Versions[0]
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b metav1.APIGroup) int { return strings.Compare(a.Name, b.Name) })
	return groups, nil
}
