// Package doctor looks at everything that clerksync needs, from the configuration to the
// worker, and says of each what was seen and how to fix it. It changes nothing.
package doctor
