// Package archtest has tests of the architecture: which package may import which, what
// must not be linked into the program, and that dashboards, alerts and documents name
// what the code has. It has no code.
package archtest
