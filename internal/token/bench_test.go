package token_test

import (
	"testing"

	"github.com/clerksync/clerksync/internal/token"
)

// BenchmarkVerify: a token of a request, by whether it was verified before.
func BenchmarkVerify(b *testing.B) {
	verify := func(b *testing.B, f *fixture, raw string) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.verifier.Verify(b.Context(), raw, ""); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("cached", func(b *testing.B) {
		f := newFixture(b)
		verify(b, f, f.signed(nil))
	})
	b.Run("cached, of 8 goroutines", func(b *testing.B) {
		f := newFixture(b)
		raw := f.signed(nil)
		b.ReportAllocs()
		b.SetParallelism(4)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := f.verifier.Verify(b.Context(), raw, ""); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("first", func(b *testing.B) {
		f := newFixture(b)
		raws := make([]string, 1<<10)
		for i := range raws {
			raws[i] = f.signed(func(c map[string]any) { c["jti"] = i })
		}
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			if n%len(raws) == 0 { // forget what was verified
				f.verifier, _ = token.New(token.Options{Key: f.issuer.PEM, Issuer: f.issuer.Issuer, Now: f.clock.now})
			}
			if _, err := f.verifier.Verify(b.Context(), raws[n%len(raws)], ""); err != nil {
				b.Fatal(err)
			}
			n++
		}
	})
}
