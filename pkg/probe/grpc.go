package probe

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"galaxy.io/runtime-manager/api/v1alpha1"
)

// checkGRPC asks the game's health service, on a connection made for it. It is
// dialled here, so that nothing dials again behind a failure, and a game that does
// not listen is told from one that does not speak gRPC.
func checkGRPC(ctx context.Context, address string, action v1alpha1.GRPCAction) error {
	conn, err := dialer.DialContext(ctx, "tcp", join(address, action.Port))
	if err != nil {
		return plain(err)
	}
	defer conn.Close()
	once := make(chan net.Conn, 1)
	once <- conn
	client, err := grpc.NewClient("passthrough:///game",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(userAgent),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(bodyLimit)),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case conn := <-once:
				return conn, nil
			default:
				return nil, net.ErrClosed
			}
		}))
	if err != nil {
		return fmt.Errorf("making a gRPC client: %w", err)
	}
	defer client.Close()
	answer, err := health.NewHealthClient(client).Check(ctx, &health.HealthCheckRequest{Service: action.Service})
	if err != nil {
		return inWords(action.Service, status.Convert(err))
	}
	if answer.Status != health.HealthCheckResponse_SERVING {
		return fmt.Errorf("the health service says %s", answer.Status)
	}
	return nil
}

// inWords says what a failed call means. The text that comes with it is left out
// where it is gRPC's own, which holds addresses.
func inWords(service string, failed *status.Status) error {
	switch failed.Code() {
	case codes.DeadlineExceeded, codes.Canceled:
		return errors.New("no answer in time")
	case codes.NotFound:
		return fmt.Errorf("the health service knows no service %q", service)
	case codes.Unimplemented:
		return errors.New("the game has no health service, grpc.health.v1.Health")
	case codes.Unavailable:
		return errors.New("the game does not speak gRPC, or broke off")
	default:
		return fmt.Errorf("the health service answered %s: %s", failed.Code(), shorten(failed.Message()))
	}
}
