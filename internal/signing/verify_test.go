package signing

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"
)

// TestVector2 of Svix has a secret of 18 bytes, which is refused; the signature itself is
// right.
func TestVector2(t *testing.T) {
	t.Parallel()
	const secret = "whsec_plJ3nmyCDGBKInavdOK15jsl"
	_, err := NewVerifier([]string{secret}, nil)
	require.EqualError(t, err, "signing secret 1: the signing secret has 18 bytes, at least 24 are needed: was it copied whole?")

	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	v := &Verifier{webhooks: []*svix.Webhook{webhook}, now: func() time.Time { return time.Unix(1731705121, 0) }}
	signed, refused := v.ReadHeaders(http.Header{
		"Svix-Id": {"msg_loFOjxBNrRLzqYUf"}, "Svix-Timestamp": {"1731705121"},
		"Svix-Signature": {"v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="},
	})
	require.Nil(t, refused)
	require.Nil(t, v.Verify(signed, []byte(`{"event_type":"ping","data":{"success":true}}`)))
	require.Equal(t, errBadSignature, v.Verify(signed, []byte(`{"event_type": "ping","data":{"success":true}}`)))
}

// TestRequestIsVerified: what is signed here is a delivery.
func TestRequestIsVerified(t *testing.T) {
	t.Parallel()
	secret := NewSecret()
	signer, err := NewSigner(secret)
	require.NoError(t, err)
	v, err := NewVerifier([]string{NewSecret(), secret}, nil)
	require.NoError(t, err)
	id, body := NewID(), []byte(`{"type":"user.created"}`)
	require.True(t, ValidID(id))
	req, err := signer.Request(t.Context(), "https://example.com/api", id, time.Now(), body)
	require.NoError(t, err)
	signed, refused := v.ReadHeaders(req.Header)
	require.Nil(t, refused)
	require.Equal(t, id, signed.ID)
	require.Nil(t, v.Verify(signed, body))
	require.NotNil(t, v.Verify(signed, append(body, ' ')))
}
