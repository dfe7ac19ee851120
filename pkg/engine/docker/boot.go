package docker

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// localScheme begins the address of an engine on this host.
const localScheme = "unix://"

// bootedAt is when this host started, if an engine at that address is on it:
// behind a socket file. It is asked once: the kernel's answer moves a little
// with its clock.
func bootedAt(address string) time.Time {
	if !strings.HasPrefix(address, localScheme) {
		return time.Time{}
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{} // no Linux
	}
	return bootTime(string(stat))
}

// bootTime reads the btime line of /proc/stat; zero if there is none.
func bootTime(stat string) time.Time {
	for line := range strings.Lines(stat) {
		if value, found := strings.CutPrefix(line, "btime "); found {
			seconds, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			if err == nil {
				return time.Unix(seconds, 0).UTC()
			}
		}
	}
	return time.Time{}
}
