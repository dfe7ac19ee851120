package rest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type collect = assert.CollectT

// promise is the contract, against which all tests hold what they ask and get.
var promise = newPromise()

type contractCheck struct {
	doc    *openapi3.T
	router routers.Router
	// failure is the shape of what is answered outside of all operations.
	failure *openapi3.Response

	mu sync.Mutex
	// kept are the answers seen, as operation and status.
	kept map[[2]string]bool
}

func newPromise() *contractCheck {
	doc, err := openapi3.NewLoader().LoadFromData(contract)
	if err != nil {
		panic(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		panic(err)
	}
	doc.Servers = openapi3.Servers{{URL: root}} // wherever a test serves
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return &contractCheck{doc: doc, router: router, failure: doc.Components.Responses["NotFound"].Value, kept: map[[2]string]bool{}}
}

// hold fails unless the answer is one that the contract has for the request, and a
// request that the contract does not have is refused.
func (c *contractCheck) hold(t testing.TB, request *http.Request, sent string, got answered) {
	t.Helper()
	asked := request.Clone(context.Background())
	asked.Body = io.NopCloser(bytes.NewBufferString(sent))
	asked.Host = ""
	asked.URL.Scheme, asked.URL.Host = "", ""
	route, params, err := c.router.FindRoute(asked)
	if err != nil {
		require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest}, got.status, "%s: %s", err, got.body)
		require.Contains(t, string(got.body), `{"result":{"outcome":"failure","error_code":`)
		return
	}
	input := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		require.True(t, got.status >= 400 && got.status < 500, "%d for a request that the contract does not have: %v", got.status, err)
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options}
	answer.SetBodyBytes(got.body)
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), answer), "%s %s: %d %s", request.Method, request.URL, got.status, got.body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[[2]string{route.Operation.OperationID, http.StatusText(got.status)}] = true
}
