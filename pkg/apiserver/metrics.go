package apiserver

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates tells when those in a data directory end, as they are at the moment
// that it is asked.
type certificates struct {
	pki    string
	expiry *prometheus.Desc
}

// CertificateMetrics are of the certificates below a data directory.
func CertificateMetrics(dir string) prometheus.Collector {
	return certificates{
		pki: filepath.Join(dir, "pki"),
		expiry: prometheus.NewDesc("runtime_manager_certificate_expiry_timestamp_seconds",
			"When a certificate in the data directory ends.", []string{"certificate"}, nil),
	}
}

// Describe is for the registry.
func (c certificates) Describe(descs chan<- *prometheus.Desc) { descs <- c.expiry }

// Collect reads the files.
func (c certificates) Collect(metrics chan<- prometheus.Metric) {
	files, _ := filepath.Glob(filepath.Join(c.pki, "*.crt")) // the pattern is one
	for _, file := range files {
		end, err := expiry(file)
		if err != nil {
			metrics <- prometheus.NewInvalidMetric(c.expiry, err)
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".crt")
		metrics <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(end.Unix()), name)
	}
}

// expiry is the end of the first certificate in a file.
func expiry(file string) (time.Time, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading a certificate: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return time.Time{}, fmt.Errorf("reading the certificate %s: not PEM", filepath.Base(file))
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the certificate %s: %w", filepath.Base(file), err)
	}
	return certificate.NotAfter, nil
}
