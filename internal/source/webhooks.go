package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// ErrNoWebhooks means that the instance has no webhook endpoint, and never had one.
var ErrNoWebhooks = errors.New("the Clerk instance has no webhook endpoint")

// WebhookPage returns a link to the webhook page of the instance. It logs in whoever
// opens it, once: it is for the eyes of the operator, not for a log. The error is
// [ErrNoWebhooks] when there is no such page yet. It sends one request, and does not retry.
func (c *Client) WebhookPage(ctx context.Context) (string, error) {
	const path = "/webhooks/svix_url"
	if err := c.budget.wait(ctx); err != nil {
		return "", err
	}
	var page struct {
		URL string `json:"svix_url"`
	}
	err := c.try(ctx, http.MethodPost, path, nil, &page)
	if answer, ok := errors.AsType[*APIError](err); ok && answer.Code == "svix_app_missing" {
		return "", ErrNoWebhooks
	}
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(page.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("POST %s: %w", path, errUnreadable)
	}
	return page.URL, nil
}
