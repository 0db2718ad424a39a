package fakeclerk

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The objects are written by hand, with their keys sorted as Clerk sends them: a million
// users cost a few seconds.

// appendUser appends a user as in a webhook, or as in the Backend API, which has a few
// fields more.
func appendUser(b []byte, u *user, api bool) []byte {
	id := strings.TrimPrefix(u.ID, "user_")
	b = append(b, `{"backup_code_enabled":false,"banned":`...)
	b = strconv.AppendBool(b, u.Banned)
	b = append(b, `,"bypass_client_trust":false,"create_organization_enabled":true,"created_at":`...)
	b = strconv.AppendInt(b, u.CreatedAt, 10)
	b = append(b, `,"delete_self_enabled":true,"deprovisioned":false,"email_addresses":[`...)
	if u.Email != "" {
		b = append(b, `{"created_at":`...)
		b = strconv.AppendInt(b, u.CreatedAt, 10)
		b = append(b, `,"email_address":`...)
		b = appendString(b, u.Email)
		b = append(append(append(b, `,"id":"idn_`...), id...), `","linked_to":[],"matches_sso_connection":false,"object":"email_address","reserved":`...)
		b = strconv.AppendBool(b, u.Unverified)
		b = append(b, `,"updated_at":`...)
		b = strconv.AppendInt(b, u.CreatedAt, 10)
		if u.Unverified {
			b = append(b, `,"verification":null}`...)
		} else {
			b = append(b, `,"verification":{"attempts":1,"expire_at":`...)
			b = strconv.AppendInt(b, u.CreatedAt+600_000, 10)
			b = append(b, `,"object":"verification_otp","status":"verified","strategy":"email_code"}}`...)
		}
	}
	b = append(b, `],"enterprise_accounts":[],"external_accounts":[],"external_id":`...)
	b = appendNullable(b, u.ExternalID)
	b = append(b, `,"first_name":`...)
	b = appendNullable(b, u.FirstName)
	b = append(b, `,"has_image":false,"id":`...)
	b = appendString(b, u.ID)
	b = appendImage(b, `,"image_url":`, "user", id)
	b = append(b, `,"last_active_at":`...)
	b = appendTime(b, u.lastActive())
	b = append(b, `,"last_name":`...)
	b = appendNullable(b, u.LastName)
	b = append(b, `,"last_sign_in_at":`...)
	b = appendTime(b, u.LastSignIn)
	b = append(b, `,"legal_accepted_at":null,"locale":"en-US","locked":false,"lockout_expires_in_seconds":null,"mfa_disabled_at":null,"mfa_enabled_at":null,"object":"user","passkeys":[],"password_enabled":true,"phone_numbers":[],"primary_email_address_id":`...)
	if u.Email != "" {
		b = append(append(append(b, `"idn_`...), id...), '"')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"primary_phone_number_id":null,"primary_web3_wallet_id":null,"private_metadata":{}`...)
	b = appendImage(b, `,"profile_image_url":`, "user", id)
	b = append(b, `,"public_metadata":{}`...)
	if api {
		b = append(b, `,"requires_password_reset":false`...)
	}
	b = append(b, `,"saml_accounts":[],"totp_enabled":false,"two_factor_enabled":false,"unsafe_metadata":{},"updated_at":`...)
	b = strconv.AppendInt(b, u.UpdatedAt, 10)
	b = append(b, `,"username":`...)
	b = appendNullable(b, u.Username)
	return append(b, `,"verification_attempts_remaining":100,"web3_wallets":[]}`...)
}

// lastActive returns last_active_at, which at sign-up is a little before created_at.
func (u *User) lastActive() int64 { return max(u.LastSignIn, u.CreatedAt-2) }

// organizationForm tells which fields an organization has, which depends on where it is.
type organizationForm int

const (
	organizationEvent   organizationForm = iota // organization.created and updated
	organizationPage                            // the Backend API
	organizationCounted                         // the same with include_members_count
	organizationInside                          // the organization in a membership, in both
)

func appendOrganization(b []byte, o *organization, form organizationForm) []byte {
	b = append(b, `{"admin_delete_enabled":true,"created_at":`...)
	b = strconv.AppendInt(b, o.CreatedAt, 10)
	if form != organizationInside {
		b = append(b, `,"created_by":`...)
		b = appendString(b, o.CreatedBy)
	}
	b = append(b, `,"has_image":false,"id":`...)
	b = appendString(b, o.ID)
	b = appendImage(b, `,"image_url":`, "org", strings.TrimPrefix(o.ID, "org_"))
	b = append(b, `,"max_allowed_memberships":0`...)
	if form == organizationCounted || form == organizationInside {
		b = append(b, `,"members_count":`...)
		b = strconv.AppendInt(b, int64(o.members), 10)
	}
	b = append(b, `,"name":`...)
	b = appendString(b, o.Name)
	b = append(b, `,"object":"organization"`...)
	if form == organizationInside {
		b = append(b, `,"pending_invitations_count":0`...)
	} else {
		b = append(b, `,"private_metadata":{}`...)
	}
	b = append(b, `,"public_metadata":{}`...)
	if form == organizationPage || form == organizationCounted {
		b = append(b, `,"role_set_key":"role_set:default"`...)
	}
	b = append(b, `,"slug":`...)
	b = appendString(b, o.Slug)
	b = append(b, `,"updated_at":`...)
	b = strconv.AppendInt(b, o.UpdatedAt, 10)
	return append(b, '}')
}

// appendMembership appends a membership as in a webhook, or as in the Backend API, which
// also has its private metadata.
func appendMembership(b []byte, m *membership, api bool) []byte {
	u := m.user
	roleName, permissions := "Member", `"org:sys_memberships:read","org:sys_billing:read"`
	if m.Role == "org:admin" {
		roleName = "Admin"
		permissions = `"org:sys_profile:manage","org:sys_profile:delete","org:sys_memberships:read","org:sys_memberships:manage","org:sys_domains:read","org:sys_domains:manage","org:sys_billing:read","org:sys_billing:manage"`
	} else if m.Role != "org:member" {
		roleName = strings.TrimPrefix(m.Role, "org:")
	}
	b = append(b, `{"created_at":`...)
	b = strconv.AppendInt(b, m.CreatedAt, 10)
	b = append(b, `,"id":`...)
	b = appendString(b, m.ID)
	b = append(b, `,"object":"organization_membership","organization":`...)
	b = appendOrganization(b, m.org, organizationInside)
	b = append(append(append(b, `,"permissions":[`...), permissions...), ']')
	if api {
		b = append(b, `,"private_metadata":{}`...)
	}
	b = append(b, `,"public_metadata":{},"public_user_data":{"banned":`...)
	b = strconv.AppendBool(b, u.Banned)
	b = append(b, `,"deprovisioned":false,"first_name":`...)
	b = appendNullable(b, u.FirstName)
	b = append(b, `,"has_image":false,"identifier":`...)
	b = appendNullable(b, u.Email)
	b = appendImage(b, `,"image_url":`, "user", strings.TrimPrefix(u.ID, "user_"))
	b = append(b, `,"last_name":`...)
	b = appendNullable(b, u.LastName)
	b = appendImage(b, `,"profile_image_url":`, "user", strings.TrimPrefix(u.ID, "user_"))
	b = append(b, `,"user_id":`...)
	b = appendString(b, u.ID)
	b = append(b, `,"username":`...)
	b = appendNullable(b, u.Username)
	b = append(b, `},"role":`...)
	b = appendString(b, m.Role)
	b = append(b, `,"role_name":`...)
	b = appendString(b, roleName)
	b = append(b, `,"updated_at":`...)
	b = strconv.AppendInt(b, m.UpdatedAt, 10)
	return append(b, '}')
}

// appendDeleted appends the data of a delete, which has no times. The external id and the
// slug are there only when they are not "".
func appendDeleted(b []byte, object, id, externalID, slug string) []byte {
	b = append(b, `{"deleted":true`...)
	if externalID != "" {
		b = appendString(append(b, `,"external_id":`...), externalID)
	}
	b = appendString(append(b, `,"id":`...), id)
	b = appendString(append(b, `,"object":`...), object)
	if slug != "" {
		b = appendString(append(b, `,"slug":`...), slug)
	}
	return append(b, '}')
}

func appendImage(b []byte, key, kind, id string) []byte {
	b = append(append(append(b, key...), `"https://img.example.com/`...), kind...)
	return append(append(append(b, '/'), id...), `.png"`...)
}

// appendString appends a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the error tells of invalid UTF-8
	return b
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func appendTime(b []byte, ms int64) []byte {
	if ms == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, ms, 10)
}
