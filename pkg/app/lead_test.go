package app

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	testclock "k8s.io/utils/clock/testing"
)

// memoryLease keeps a lease in memory.
type memoryLease struct {
	resourcelock.Interface
	record resourcelock.LeaderElectionRecord
	writes int
	broken bool
}

func (s *memoryLease) Identity() string { return "first" }

func (s *memoryLease) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record := s.record
	raw, err := json.Marshal(record)
	return &record, raw, err
}

func (s *memoryLease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return s.Update(ctx, record)
}

func (s *memoryLease) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	if s.broken {
		return errors.New("the database is away")
	}
	s.record, s.writes = record, s.writes+1
	return nil
}

// contender is a lead in memory, on a clock that stands still.
type contender struct {
	*lead
	t     *testing.T
	lease *memoryLease
	time  *testclock.FakeClock
	ended int // how often it was told that the lead is lost
}

func newContender(t *testing.T) *contender {
	c := &contender{t: t, lease: &memoryLease{}, time: testclock.NewFakeClock(time.Now())}
	c.lead = &lead{Interface: c.lease, clock: c.time, lost: func() { c.ended++ }}
	return c
}

func (c *contender) write(holder string) error {
	return c.Update(c.t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: holder})
}

func TestTheLeaseIsWrittenWhenThatIsDue(t *testing.T) {
	c := newContender(t)
	require.NoError(t, c.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "first"}))
	for range 4 * int(renewPeriod/lookPeriod) {
		c.time.Step(lookPeriod)
		require.NoError(t, c.write("first"))
	}
	require.Equal(t, 1+4, c.lease.writes)
	require.NoError(t, c.write(""))
	require.Equal(t, 1+5, c.lease.writes, "it is given back at once")
	require.NoError(t, c.write("first"))
	require.Equal(t, 1+6, c.lease.writes, "and taken again")
}

func TestTheLeadIsHeldFromItsLastRenewalOn(t *testing.T) {
	c := newContender(t)
	require.Error(t, c.held(), "it was never taken")
	require.NoError(t, c.write("first"))
	require.NoError(t, c.held())

	c.lease.broken = true
	c.time.Step(leaseDuration - time.Millisecond)
	require.Error(t, c.write("first"))
	require.NoError(t, c.held(), "nobody may take it yet")
	c.time.Step(time.Millisecond)
	require.Error(t, c.held())

	c.lease.broken = false
	require.NoError(t, c.write("first"))
	require.NoError(t, c.held(), "nobody took it")
	require.NoError(t, c.write(""))
	require.Error(t, c.held(), "it is given back")
	_, _, err := c.Get(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.why())
	require.Zero(t, c.ended)
}

func TestTheLeadIsLostToAnother(t *testing.T) {
	c := newContender(t)
	look := func() {
		_, _, err := c.Get(t.Context())
		require.NoError(t, err)
	}
	c.lease.record.HolderIdentity = "second"
	look()
	require.NoError(t, c.why(), "who never led loses nothing")

	require.NoError(t, c.write("first"))
	look()
	require.NoError(t, c.held())
	c.lease.record.HolderIdentity = "second"
	look()
	look()
	require.Error(t, c.held())
	require.ErrorContains(t, c.why(), `lost the lead to "second"`)
	require.Equal(t, 1, c.ended)
}
