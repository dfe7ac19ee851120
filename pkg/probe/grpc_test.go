package probe

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// referee is a health service that answers as the service's name says.
type referee struct {
	healthpb.HealthServer
	agent atomic.Value
}

func (r *referee) Check(ctx context.Context, asked *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	meta, _ := metadata.FromIncomingContext(ctx)
	r.agent.Store(meta.Get("user-agent")[0])
	switch asked.Service {
	case "hangs":
		<-ctx.Done()
		return nil, ctx.Err()
	case "denies":
		return nil, status.Error(codes.PermissionDenied, "members only")
	}
	return r.HealthServer.Check(ctx, asked)
}

// serveGRPC serves a game for the test.
func serveGRPC(t *testing.T, register func(*grpc.Server)) (Target, int32) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})
	return targetAt(t, listener.Addr())
}

func TestCheckingOverGRPC(t *testing.T) {
	states := health.NewServer()
	states.SetServingStatus("chess", healthpb.HealthCheckResponse_SERVING)
	states.SetServingStatus("go", healthpb.HealthCheckResponse_NOT_SERVING)
	answering := &referee{HealthServer: states}
	target, port := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, answering) })
	_, without := serveGRPC(t, func(*grpc.Server) {})
	_, web := speak(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	_, silent := accept(t, func(conn net.Conn) {
		defer conn.Close()
		for buffer := make([]byte, 4096); ; {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
		}
	})
	for _, c := range []struct {
		name, service string
		port          int32
		want          string
	}{
		{"the server as a whole", "", port, ""},
		{"a service", "chess", port, ""},
		{"one that does not serve", "go", port, "the health service says NOT_SERVING"},
		{"one that is not known", "poker", port, `the health service knows no service "poker"`},
		{"one that hangs", "hangs", port, "no answer in time"},
		{"one that refuses", "denies", port, "the health service answered PermissionDenied: members only"},
		{"no health service", "", without, "the game has no health service, grpc.health.v1.Health"},
		{"no gRPC", "", web, "the game does not speak gRPC, or broke off"},
		{"nobody answers", "", silent, "no answer in time"},
		{"nobody listens", "", freePort(t), "dial: connect: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			spec := v1alpha1.Probe{GRPC: &v1alpha1.GRPCAction{Port: c.port, Service: c.service}}
			err := checks{}.check(ctx, target, spec)
			if c.want == "" {
				require.NoError(t, err)
				require.Contains(t, answering.agent.Load(), userAgent)
				return
			}
			require.EqualError(t, err, c.want)
		})
	}
}
