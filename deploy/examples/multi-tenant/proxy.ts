import { clerkMiddleware } from '@clerk/nextjs/server'

// This protects nothing: each page and each action calls tenant(). So no list of public
// paths can forget the sign-in page, or the one that chooses an organization.
export default clerkMiddleware({
  // Tokens made for another origin (claim azp) are refused. Not set, no token is taken.
  authorizedParties: (process.env.CLERK_AUTHORIZED_PARTIES ?? '').split(','),
  // The package does not read this variable itself. Not set, Clerk's keys are fetched.
  jwtKey: process.env.CLERK_JWT_KEY,
})

export const config = { matcher: '/((?!_next/|favicon.ico).*)' }
