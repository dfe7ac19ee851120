package apiserver

import (
	"net/http"

	apiextensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
)

// maxHead bounds the URL and the headers of a request, in bytes. It is for what is
// done with them: the audit log has the URL, also of those whom nobody knows, and
// would soon have nothing else; and a Docker engine never lets go of a container in
// which a program with a name of more than a pipe holds, 64 KiB, was to run.
const maxHead = 32 << 10

// boundHead refuses what is longer, before anybody looks at it.
func boundHead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if headLength(req) > maxHead {
			err := apierrors.NewGenericServerResponse(http.StatusRequestHeaderFieldsTooLarge, "", schema.GroupResource{}, "",
				"the URL and the headers of a request have at most 32 KiB", 0, true)
			responsewriters.ErrorNegotiated(err, apiextensionsserver.Codecs, schema.GroupVersion{}, w, req)
			return
		}
		next.ServeHTTP(w, req)
	})
}

func headLength(req *http.Request) int {
	length := len(req.RequestURI)
	for name, values := range req.Header {
		for _, value := range values {
			length += len(name) + len(value)
		}
	}
	return length
}
