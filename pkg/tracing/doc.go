// Package tracing makes OpenTelemetry traces of what the manager does for somebody:
// from a request or a job over the write of a record and the passes of the loop that
// carry it out to the calls to the engine. Off, it makes nothing, and runs nothing.
package tracing
