package apiserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apiextensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
)

// discoverable is a list of what the server has in which the subresources stand
// beside their resources.
type discoverable struct {
	aggregated.ResourceManager
	subresources subresources
}

func (d discoverable) WithSource(source aggregated.Source) aggregated.ResourceManager {
	return discoverable{d.ResourceManager.WithSource(source), d.subresources}
}

func (d discoverable) AddGroupVersion(group string, version apidiscoveryv2.APIVersionDiscovery) {
	version.Resources = slices.Clone(version.Resources)
	for i, resource := range version.Resources {
		all := slices.Clone(resource.Subresources)
		for _, s := range d.subresources {
			if s.of == (schema.GroupVersionResource{Group: group, Version: version.Version, Resource: resource.Resource}) {
				all = append(all, apidiscoveryv2.APISubresourceDiscovery{
					Subresource:  s.name,
					ResponseKind: &metav1.GroupVersionKind{Group: group, Version: version.Version, Kind: s.kind},
					Verbs:        s.verbs(),
				})
			}
		}
		version.Resources[i].Subresources = all
	}
	d.ResourceManager.AddGroupVersion(group, version)
}

// listIn adds to the list of one group's resources, which clients older than
// aggregated discovery read, those that stand below a resource in it.
func (s subresources) listIn(next http.Handler, path string) http.Handler {
	in := func(sub subresource) bool { return path == "/apis/"+sub.of.GroupVersion().String() }
	if !slices.ContainsFunc(s, in) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		plain := req.Clone(req.Context())
		plain.Header.Set("Accept", runtime.ContentTypeJSON)
		held := &heldResponse{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(held, plain)
		var list metav1.APIResourceList
		if held.code != http.StatusOK || json.Unmarshal(held.body.Bytes(), &list) != nil {
			held.release()
			return
		}
		for _, sub := range s {
			parent := func(r metav1.APIResource) bool { return r.Name == sub.of.Resource }
			if in(sub) && slices.ContainsFunc(list.APIResources, parent) {
				list.APIResources = append(list.APIResources, metav1.APIResource{
					Name: sub.of.Resource + "/" + sub.name, Namespaced: true, Kind: sub.kind, Verbs: sub.verbs(),
				})
			}
		}
		w.Header().Del("Content-Length")
		responsewriters.WriteObjectNegotiated(apiextensionsserver.Codecs, negotiation.DefaultEndpointRestrictions,
			schema.GroupVersion{Version: "v1"}, w, req, http.StatusOK, &list, false)
	})
}

// heldResponse keeps a response back until it is whole.
type heldResponse struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

func (w *heldResponse) WriteHeader(code int)        { w.code = code }
func (w *heldResponse) Write(p []byte) (int, error) { return w.body.Write(p) }

func (w *heldResponse) release() {
	w.ResponseWriter.WriteHeader(w.code)
	_, _ = w.ResponseWriter.Write(w.body.Bytes()) // the client is gone: nobody to tell
}
