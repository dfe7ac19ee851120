// Package journal keeps what we were about to do to the games' containers, and
// what came of it.
//
// Before an effect its intent is written: Begin returns when it is durable, or
// fails, and then nothing may be done. After the effect Finish says how it
// ended; that is written soon, and at the latest by Close. What a crash leaves
// open is loaded by the manager that leads next, and finished by it when the
// engine's own word shows what came of it.
//
// Intents of many games that begin at one time share a transaction, with the
// outcomes that wait by then: a bulk start of thousands costs few commits.
//
// The intents that may still explain something are in memory: who decides never
// asks the database.
package journal
