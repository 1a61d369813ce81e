//go:build tools

// Package tools pins VictoriaLogs, which tests write to as they would to Loki.
package tools

import _ "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
