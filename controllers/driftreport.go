package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"galaxy.io/runtime-manager/api/v1alpha1"
	"galaxy.io/runtime-manager/pkg/engine"
	"galaxy.io/runtime-manager/pkg/mirror"
	"galaxy.io/runtime-manager/pkg/plan"
)

const (
	// reportEvery is the least time between two writes of a report: a bulk change
	// is told in a few of them.
	reportEvery = 10 * time.Second
	// mostItems is what a report holds of differences; the rest is counted.
	mostItems = 500
)

// DriftReporter keeps the DriftReport of the engine: the drift of all records
// and the orphans, added up. It decides nothing and asks no engine.
type DriftReporter struct {
	client  client.Client
	live    client.Reader
	mirror  *mirror.Mirror
	orphans *orphans
	brake   *brake
	clock   clock.PassiveClock
	metrics driftMetrics

	// written is the report as it was last written, at writtenAt. One worker has them.
	written   *v1alpha1.DriftReport
	writtenAt time.Time

	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=driftreports,verbs=get;create
// +kubebuilder:rbac:groups=runtime.galaxy.io,resources=driftreports/status,verbs=update

// Reconcile writes the report where it differs from the one before.
func (d *DriftReporter) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	fleet := d.mirror.Fleet()
	if fleet.Info == (engine.Info{}) {
		return ctrl.Result{}, nil // not asked yet who it is: the first answer wakes us
	}
	if early := reportEvery - d.clock.Since(d.writtenAt); early > 0 {
		return ctrl.Result{RequeueAfter: early}, nil
	}
	var records v1alpha1.GameRuntimeList
	if err := d.client.List(ctx, &records, client.UnsafeDisableDeepCopy); err != nil { // only read
		return ctrl.Result{}, fmt.Errorf("listing records for the drift report: %w", err)
	}
	status, kinds := sumUp(records.Items, d.orphans.report())
	d.metrics.set(kinds, status.Orphans)
	status.Engine, status.LastScan = fleet.Info.ID, scanTime(d.mirror.ListedAt())
	err := d.write(ctx, reportName(fleet.Info), fleet, status)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // somebody changed or deleted it
		d.written = nil
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	return ctrl.Result{RequeueAfter: backstop}, err // the time of the last list moves without a source
}

// write stores a status under the report's name, unless it says nothing new.
func (d *DriftReporter) write(ctx context.Context, name string, fleet engine.Fleet, status v1alpha1.DriftReportStatus) error {
	report, err := d.read(ctx, name)
	if err != nil {
		return err
	}
	status.Conditions = slices.Clone(report.Status.Conditions)
	meta.SetStatusCondition(&status.Conditions, reachable(fleet))
	meta.SetStatusCondition(&status.Conditions, frozen(d.brake.holding(), d.clock.Now()))
	if equality.Semantic.DeepEqual(report.Status, status) {
		return nil
	}
	report.Status = status
	if err := d.client.Status().Update(ctx, report); err != nil {
		return fmt.Errorf("writing the drift report: %w", err)
	}
	d.written, d.writtenAt = report, d.clock.Now()
	return nil
}

// read returns a copy of the report, which is made if it is missing.
func (d *DriftReporter) read(ctx context.Context, name string) (*v1alpha1.DriftReport, error) {
	if d.written != nil && d.written.Name == name {
		return d.written.DeepCopy(), nil
	}
	report := &v1alpha1.DriftReport{}
	err := d.live.Get(ctx, client.ObjectKey{Name: name}, report)
	if apierrors.IsNotFound(err) {
		report.Name = name
		err = d.client.Create(ctx, report)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the drift report: %w", err)
	}
	return report, nil
}

// Start keeps the queue.
func (d *DriftReporter) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	d.mu.Lock()
	d.queue = queue
	d.mu.Unlock()
	d.wake()
	return nil
}

// wake tells that the engine or the orphans changed.
func (d *DriftReporter) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue != nil {
		d.queue.Add(reconcile.Request{})
	}
}

// driftChanged says that an update of a record is news for the report.
func driftChanged(before, after *v1alpha1.GameRuntime) bool {
	return inSync(before) != inSync(after) || !equality.Semantic.DeepEqual(before.Status.Drift, after.Status.Drift)
}

func inSync(record *v1alpha1.GameRuntime) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(record.Status.Conditions, v1alpha1.ConditionInSync); c != nil {
		return c.Status
	}
	return ""
}

// sumUp counts games and orphans, and keeps the oldest of the differences. A
// game of which nothing is known yet is counted neither way.
func sumUp(records []v1alpha1.GameRuntime, orphans []v1alpha1.DriftItem) (v1alpha1.DriftReportStatus, map[v1alpha1.DriftKind]int) {
	status := v1alpha1.DriftReportStatus{Orphans: int32(len(orphans))}
	items := slices.Clone(orphans)
	for i := range records {
		record := &records[i]
		switch inSync(record) {
		case metav1.ConditionTrue:
			status.InSync++
		case metav1.ConditionFalse:
			status.Drifted++
		default: // the engine was not seen yet
		}
		for _, drift := range record.Status.Drift {
			item := v1alpha1.DriftItem{Game: record.Namespace + "/" + record.Name, Drift: drift}
			if record.Status.Container != nil {
				item.Container = record.Status.Container.ID
			}
			items = append(items, item)
		}
	}
	kinds := map[v1alpha1.DriftKind]int{}
	for i := range items {
		kinds[items[i].Kind]++
	}
	slices.SortFunc(items, func(a, b v1alpha1.DriftItem) int {
		return cmp.Or(
			a.FirstSeen.Compare(b.FirstSeen.Time), cmp.Compare(a.Game, b.Game), cmp.Compare(a.Container, b.Container),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Field, b.Field),
		)
	})
	status.Items = items[:min(len(items), mostItems)]
	status.Omitted = int32(len(items) - len(status.Items))
	return status, kinds
}

func reachable(fleet engine.Fleet) metav1.Condition {
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReachable, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEngineReachable,
		Message: "engine " + fleet.Info.Name + " " + fleet.Info.Version + " answers", LastTransitionTime: metav1.NewTime(fleet.Since),
	}
	if !fleet.Reachable {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, v1alpha1.ReasonEngineUnreachable, fleet.Reason
	}
	return condition
}

func frozen(brake *plan.Brake, now time.Time) metav1.Condition {
	if brake == nil {
		return metav1.Condition{
			Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNotFrozen,
			Message: "what vanishes is made anew", LastTransitionTime: metav1.NewTime(now),
		}
	}
	return metav1.Condition{
		Type: v1alpha1.ConditionFrozen, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonMassVanish,
		Message: brake.Message, LastTransitionTime: metav1.NewTime(brake.Since),
	}
}

func scanTime(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return &metav1.Time{Time: at.Truncate(time.Second)}
}

// reportName makes the name of an engine's host, or else its id, one that an
// object may have.
func reportName(info engine.Info) string {
	var labels []string
	for label := range strings.SplitSeq(cmp.Or(info.Name, info.ID), ".") {
		label = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(label))
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	name := strings.Join(labels, ".")
	return cmp.Or(strings.TrimRight(name[:min(len(name), 253)], "-."), "engine")
}

// driftMetrics are set whenever the report is put together.
type driftMetrics struct {
	drift   *prometheus.GaugeVec
	orphans prometheus.Gauge
}

func newDriftMetrics() driftMetrics {
	return driftMetrics{
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "drift", Help: "Differences between the engine and the records, by kind.",
		}, []string{"kind"}),
		orphans: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "runtime_manager", Name: "orphans", Help: "Containers of this installation whose game has no record.",
		}),
	}
}

func (m driftMetrics) set(kinds map[v1alpha1.DriftKind]int, orphans int32) {
	for _, kind := range v1alpha1.DriftKinds {
		m.drift.WithLabelValues(string(kind)).Set(float64(kinds[kind]))
	}
	m.orphans.Set(float64(orphans))
}
