package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

const (
	// userAgent is how a game's own log tells our checks from its players.
	userAgent = "runtime-manager-probe"
	// bodyLimit is how much of an answer is read, so that the game can finish it.
	bodyLimit = 10 << 10
	// maxRedirects is how often a game may send us elsewhere on itself.
	maxRedirects = 10
)

// client follows redirects that stay on the game's address: an answer that
// leads elsewhere is an answer.
var client = &http.Client{
	Transport: &oneShot{tls: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(next *http.Request, before []*http.Request) error {
		switch {
		case next.URL.Hostname() != before[0].URL.Hostname():
			return http.ErrUseLastResponse
		case len(before) > maxRedirects:
			return fmt.Errorf("redirected more than %d times", maxRedirects)
		}
		return nil
	},
}

// CheckHTTP asks the game at an address, without a port. It succeeds on an
// answer from 200 to 399.
func CheckHTTP(ctx context.Context, address string, action v1alpha1.HTTPGetAction) error {
	return ask(ctx, address, action, io.Discard)
}

// ask makes the request of a check, and writes the body of the answer to a writer.
func ask(ctx context.Context, address string, action v1alpha1.HTTPGetAction, body io.Writer) error {
	request, err := newRequest(ctx, address, action)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return plain(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(body, io.LimitReader(answer.Body, bodyLimit)); err != nil {
		return plain(err)
	}
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("GET %s answered %d", action.Path, answer.StatusCode)
	}
	return nil
}

// newRequest takes our own headers first, which the record's replace.
func newRequest(ctx context.Context, address string, action v1alpha1.HTTPGetAction) (*http.Request, error) {
	target, err := url.ParseRequestURI(action.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q makes no URL", action.Path)
	}
	target.Host, target.Scheme = join(address, action.Port), "http"
	if action.Scheme == "HTTPS" {
		target.Scheme = "https"
	}
	given := http.Header{}
	for _, header := range action.HTTPHeaders {
		given.Add(header.Name, header.Value)
	}
	header := http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}, "Connection": {"close"}}
	maps.Copy(header, given)
	request := &http.Request{Method: http.MethodGet, URL: target, Host: given.Get("Host"), Header: header}
	return request.WithContext(ctx), nil
}
