package apiserver

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// untypedPatch begins what server-side apply says of a patch that does not fit
// the schema: an unknown field, or a value of another type.
const untypedPatch = "failed to create typed patch object"

// blameApplicant answers 400 where server-side apply was given a patch that
// does not fit the schema. Upstream says 500, and clients take that for our
// fault and try again.
func blameApplicant(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mediaType, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
		if req.Method != http.MethodPatch || mediaType != string(types.ApplyYAMLPatchType) {
			next.ServeHTTP(w, req)
			return
		}
		held := &heldError{ResponseWriter: w}
		next.ServeHTTP(held, req)
		held.release()
	})
}

// heldError passes a response through, unless it is a 500: that one is held
// back until it is whole and can be judged.
type heldError struct {
	http.ResponseWriter
	holding bool
	body    bytes.Buffer
}

func (w *heldError) WriteHeader(code int) {
	if w.holding = code == http.StatusInternalServerError; !w.holding {
		w.ResponseWriter.WriteHeader(code)
	}
}

func (w *heldError) Write(p []byte) (int, error) {
	if w.holding {
		return w.body.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

func (w *heldError) release() {
	if !w.holding {
		return
	}
	code, body := http.StatusInternalServerError, w.body.Bytes()
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err == nil && strings.HasPrefix(status.Message, untypedPatch) {
		status.Code, status.Reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
		if fixed, err := json.Marshal(&status); err == nil {
			code, body = http.StatusBadRequest, fixed
		}
	}
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(code)
	_, _ = w.ResponseWriter.Write(body) // the client is gone: nobody to tell
}
