// Package doctor looks at everything that clerksync needs, from the configuration to the
// worker, and says of each what was seen and what mends it. It changes nothing.
package doctor
