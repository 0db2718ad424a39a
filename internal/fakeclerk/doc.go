// Package fakeclerk is an instance of Clerk that lives in memory: users, organizations and
// memberships that change as Clerk changes them, the Backend API that reads them, with its
// limits and its surprises, and the webhook event of every change.
//
// It serves tests of the Backend API's clients, and clerksync dev --sample-data. It is not
// a Clerk to develop an application on: nobody can sign in, and the API only reads. All of
// its people are made up, with addresses at example.com. With the same seed, clock and
// calls, it is the same, byte for byte.
package fakeclerk
