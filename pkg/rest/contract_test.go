package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

type collect = assert.CollectT

// promise is the contract, against which all tests hold what they ask and get.
var promise = newPromise()

type contractCheck struct {
	doc    *openapi3.T
	router routers.Router

	mu sync.Mutex
	// calls and failures are the operations and the codes that were seen.
	calls, failures map[string]bool
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
	return &contractCheck{doc: doc, router: router, calls: map[string]bool{}, failures: map[string]bool{}}
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
		require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusUnauthorized}, got.status, "%s: %s", err, got.body)
		require.Contains(t, string(got.body), `{"result":{"outcome":"failure","error_code":`)
		return
	}
	input := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}}
	if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
		require.True(t, got.status >= 400 && got.status < 500, "%d for a request that the contract does not have: %v", got.status, err)
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options}
	output.SetBodyBytes(got.body)
	require.NoError(t, openapi3filter.ValidateResponse(context.Background(), output), "%s %s: %d %s", request.Method, request.URL, got.status, got.body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[fmt.Sprint(route.Operation.OperationID, " ", got.status)] = true
	var answer Answer
	if json.Unmarshal(got.body, &answer) == nil {
		c.failures[answer.Result.ErrorCode] = true
	}
}

// reached fails unless the tests saw each operation do what it is for, and each
// code.
func (c *contractCheck) reached(t *testing.T) {
	t.Helper()
	if t.Failed() || strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // not all of them ran
	}
	for _, path := range c.doc.Paths.Map() {
		for _, operation := range path.Operations() {
			for status := range operation.Responses.Map() {
				if status[0] < '4' {
					require.Contains(t, c.calls, operation.OperationID+" "+status)
				}
			}
		}
	}
	for _, known := range v1alpha1.Codes {
		require.Contains(t, c.failures, known.Code)
	}
}

// Each row of the table of failures is held by a part of TestAPI.
func TestEachFailureIsHeldByATest(t *testing.T) {
	page, err := os.ReadFile("../../docs/services.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "## Over HTTP\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| .* \| ([^|]*) \|$`).FindAllStringSubmatch(section, -1)
	require.Greater(t, len(rows), 30)
	for _, row := range rows[2:] {
		first := regexp.MustCompile("^`([^`]+)`").FindStringSubmatch(row[1])
		require.NotNil(t, first, row[0])
		require.Contains(t, parts, first[1], row[0])
	}
}
