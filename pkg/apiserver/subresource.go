package apiserver

import (
	"net/http"
	"slices"

	apiextensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/metrics"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// answers encodes what subresources answer.
var answers = func() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err) // the types are ours: a programming error
	}
	return serializer.NewCodecFactory(scheme).WithoutConversion()
}()

// subresource is what can be asked of a namespaced custom resource besides its
// status and its scale, which are all that a definition can declare.
type subresource struct {
	of   schema.GroupVersionResource
	name string
	// kind is that of the answer, in the version of the resource.
	kind string
	// get and create make the answers to a GET and a POST; nil refuses the verb. An
	// answer that is a rest.ResourceStreamer is streamed.
	get, create func(req *http.Request, of types.NamespacedName) (runtime.Object, error)
	// connect takes the connection of a GET or a POST over, instead of both. The
	// client has not been told of an error that it returns.
	connect func(w http.ResponseWriter, req *http.Request, of types.NamespacedName) error
}

// verbs is what can be done with it.
func (s subresource) verbs() []string {
	var verbs []string
	if s.create != nil || s.connect != nil {
		verbs = append(verbs, "create")
	}
	if s.get != nil || s.connect != nil {
		verbs = append(verbs, "get")
	}
	return verbs
}

// subresources is all of them. They stand at the end of the chain of filters, so
// that who asks is known, and may, and is counted, and in front of the custom
// resources, which know nothing of them.
type subresources []subresource

// before serves the subresources, and lets next serve the rest.
func (s subresources) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		info, ok := genericapirequest.RequestInfoFrom(req.Context())
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		if !info.IsResourceRequest {
			s.listIn(next, info.Path).ServeHTTP(w, req)
			return
		}
		found := slices.IndexFunc(s, func(sub subresource) bool { return sub.meant(info) })
		if found < 0 {
			next.ServeHTTP(w, req)
			return
		}
		sub := s[found]
		metrics.InstrumentHandlerFunc(req.Method, sub.of.Group, sub.of.Version, sub.of.Resource, sub.name,
			metrics.CleanScope(info), metrics.APIServerComponent, false, "",
			func(w http.ResponseWriter, req *http.Request) { sub.serve(w, req, info) }).ServeHTTP(w, req)
	})
}

// meant says that a request is for this subresource, and for nothing below it.
func (s subresource) meant(info *genericapirequest.RequestInfo) bool {
	const parts = 3 // resource, name, subresource
	return info.APIGroup == s.of.Group && info.APIVersion == s.of.Version && info.Resource == s.of.Resource &&
		info.Subresource == s.name && info.Namespace != "" && len(info.Parts) == parts
}

func (s subresource) serve(w http.ResponseWriter, req *http.Request, info *genericapirequest.RequestInfo) {
	version := s.of.GroupVersion()
	answer, err := s.answer(w, req, info)
	if err != nil {
		responsewriters.ErrorNegotiated(err, apiextensionsserver.Codecs, version, w, req)
		return
	}
	if answer != nil {
		responsewriters.WriteObjectNegotiated(answers, negotiation.DefaultEndpointRestrictions, version, w, req, http.StatusOK, answer, false)
	}
}

// answer returns nil where the client has its answer.
func (s subresource) answer(w http.ResponseWriter, req *http.Request, info *genericapirequest.RequestInfo) (runtime.Object, error) {
	of := types.NamespacedName{Namespace: info.Namespace, Name: info.Name}
	switch {
	case !slices.Contains(s.verbs(), info.Verb):
		return nil, apierrors.NewMethodNotSupported(s.of.GroupResource(), info.Verb)
	case s.connect != nil:
		return nil, s.connect(w, req, of)
	case info.Verb == "create":
		return s.create(req, of)
	}
	return s.get(req, of)
}
