package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DriftReport tells where one container engine differs from the records. It is
// written by Runtime Manager alone, and named after the engine's host.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=dr,categories=galaxy
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.status.engine`
// +kubebuilder:printcolumn:name="In-Sync",type=integer,JSONPath=`.status.inSync`
// +kubebuilder:printcolumn:name="Drifted",type=integer,JSONPath=`.status.drifted`
// +kubebuilder:printcolumn:name="Orphans",type=integer,JSONPath=`.status.orphans`
// +kubebuilder:printcolumn:name="Last-Scan",type=date,JSONPath=`.status.lastScan`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DriftReport struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +optional
	Status DriftReportStatus `json:"status,omitzero"`
}

// DriftReportStatus is what was found.
type DriftReportStatus struct {
	// Engine is the id of the container engine.
	// +optional
	Engine string `json:"engine,omitempty"`
	// InSync and Drifted count games, Orphans containers of ours without a record.
	InSync  int32 `json:"inSync"`
	Drifted int32 `json:"drifted"`
	Orphans int32 `json:"orphans"`
	// LastScan is when the engine's containers were last listed.
	// +optional
	LastScan *metav1.Time `json:"lastScan,omitempty"`
	// Conditions of the engine: Reachable, and Frozen while recreation is held back.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Items are the differences, the oldest first, 500 at most.
	// +listType=atomic
	// +optional
	Items []DriftItem `json:"items,omitempty"`
	// Omitted counts the differences that did not fit.
	// +optional
	Omitted int32 `json:"omitted,omitempty"`
}

// DriftItem is one difference, and the game that it is about.
type DriftItem struct {
	// Game is the namespace and name of the record: namespace/name.
	Game string `json:"game"`
	// Container is the id of the container, where there is one.
	// +optional
	Container string `json:"container,omitempty"`
	Drift     `json:",inline"`
}

// DriftReportList is a list of reports.
// +kubebuilder:object:root=true
type DriftReportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DriftReport `json:"items"`
}
