package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// The lead is a Lease in the namespace default, whose uid names the installation:
// one manager of an installation acts, however many serve the API.
const (
	leaseName = "runtime-manager"
	// leaseDuration is after how long without a renewal the lead is anybody's. A
	// leader gives up after renewDeadline, which leaves it the time of one renewal.
	leaseDuration = 10 * time.Second
	renewDeadline = 7 * time.Second
	// renewPeriod is between two renewals, each a write; lookPeriod about half of
	// what is between two looks of a standby, each a read, and all that a clean
	// stop leaves nobody to lead for.
	renewPeriod = 2 * time.Second
	lookPeriod  = 250 * time.Millisecond
)

// lead is the Lease as this replica knows it. It may be tried often: it is written
// only when a renewal is due.
type lead struct {
	resourcelock.Interface
	clock clock.PassiveClock
	// lost is called once somebody else turns out to have taken the lead.
	lost func()

	mu sync.Mutex
	// renewed is when the last renewal that succeeded was begun: nobody else takes
	// the lead for leaseDuration. It is zero while another one has it.
	renewed time.Time
	failure error // why it was lost; nil if it was not
}

func newLead(api *rest.Config, identity string, lost func()) (*lead, error) {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, metav1.NamespaceDefault, leaseName,
		resourcelock.ResourceLockConfig{Identity: identity}, api, renewDeadline)
	if err != nil {
		return nil, fmt.Errorf("preparing the lease: %w", err)
	}
	return &lead{Interface: lock, clock: clock.RealClock{}, lost: lost}, nil
}

// held fails once the lease ran out by our own clock, which is no later than
// another manager may take it: it waits for that long from when it saw the renewal.
func (l *lead) held() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewed.IsZero() || l.clock.Since(l.renewed) >= leaseDuration {
		return errors.New("this manager does not hold the lease, and another one may lead")
	}
	return nil
}

// Get reads the Lease. Who led and finds another one's name in it was paused, or
// cut off: it is to end, since what it knows of games is old.
func (l *lead) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	lost := !l.renewed.IsZero() && record.HolderIdentity != l.Identity()
	if lost {
		l.renewed, l.failure = time.Time{}, fmt.Errorf("lost the lead to %q", record.HolderIdentity)
	}
	l.mu.Unlock()
	if lost {
		l.lost()
	}
	return record, raw, nil
}

// why is nil, unless the lead was lost.
func (l *lead) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

// Create makes the Lease.
func (l *lead) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(record, func() error { return l.Interface.Create(ctx, record) })
}

// Update takes the lead, renews it or gives it back.
func (l *lead) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	early := !l.renewed.IsZero() && l.clock.Since(l.renewed) < renewPeriod
	l.mu.Unlock()
	if early && record.HolderIdentity == l.Identity() {
		return nil
	}
	return l.write(record, func() error { return l.Interface.Update(ctx, record) })
}

func (l *lead) write(record resourcelock.LeaderElectionRecord, do func() error) error {
	begun := l.clock.Now()
	if err := do(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewed = begun; record.HolderIdentity != l.Identity() {
		l.renewed = time.Time{} // it is given back
	}
	return nil
}
