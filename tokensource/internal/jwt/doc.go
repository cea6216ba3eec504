// Package jwt signs JSON Web Tokens (RFC 7519): client assertions, grant assertions and proofs. It
// loads the key, chooses the algorithm that fits it, and makes the compact form (RFC 7515 section
// 3.1). It does not verify tokens: the provider does that.
//
// Errors end a sentence that begins with the name of an option, such as "key: it is a public key".
// They never quote a key.
package jwt
