// Package doctor checks everything that clerksync needs, from the configuration to the
// workers, and names a fix for each failure. It changes nothing.
package doctor
