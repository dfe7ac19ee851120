package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// scramIterations is how often a password is hashed, PostgreSQL's own default.
const scramIterations = 4096

// scramVerifier is what the server keeps of a password (RFC 5803): whoever has
// it can check the password and not tell it. The server, and whatever logs its
// statements, is given this and never the password.
func scramVerifier(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func newScramVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it never fails
	return scramVerifier(password, salt, scramIterations)
}

// verifies says whether a verifier is of this password.
func verifies(verifier, password string) bool {
	var iterations int
	var rest string
	if n, _ := fmt.Sscanf(verifier, "SCRAM-SHA-256$%d:%s", &iterations, &rest); n != 2 { // md5, or none
		return false
	}
	encoded, _, _ := strings.Cut(rest, "$")
	salt, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	same, err := scramVerifier(password, salt, iterations)
	return err == nil && hmac.Equal([]byte(same), []byte(verifier))
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
