package rest

import (
	"net/http"

	"galaxy.io/runtime-manager/pkg/command"
)

func (s *Server) get(_ http.ResponseWriter, r *http.Request) reply {
	if _, err := readQuery(r); err != nil {
		return failed(err)
	}
	record, err := s.commander.Get(r.Context(), r.PathValue("game"))
	if err != nil {
		return failed(err)
	}
	if known(r.Header, record.ResourceVersion) {
		return reply{status: http.StatusNotModified, header: http.Header{"Etag": {etag(record.ResourceVersion)}}}
	}
	return about(http.StatusOK, command.Result{Outcome: command.Success}, record)
}

func (s *Server) list(_ http.ResponseWriter, r *http.Request) reply {
	query, err := readQuery(r, "limit", "continue")
	if err != nil {
		return failed(err)
	}
	limit, err := readLimit(query)
	if err != nil {
		return failed(err)
	}
	page, err := s.commander.List(r.Context(), limit, query.Get("continue"))
	if err != nil {
		return failed(err)
	}
	answer := ListAnswer{
		Result: command.Result{Outcome: command.Success}, Runtimes: make([]Runtime, len(page.Records)),
		Continue: page.Continue, Remaining: page.Remaining,
	}
	for i := range page.Records {
		answer.Runtimes[i] = *view(&page.Records[i])
	}
	return newReply(http.StatusOK, answer)
}
