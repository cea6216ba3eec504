package tokensource

import (
	"hash/maphash"
	"sync/atomic"
)

// table holds accounts by name. It is used instead of a map because find needs no lock and writes
// nothing, so that callers on all cores can find accounts at the same time. All other methods are
// called with a lock held.
//
// The hash of an account's name selects a slot. The account is put in the first empty slot from
// there. A search ends at an empty slot. So when an account is removed, its slot gets the value
// left instead.
type table struct {
	seed  maphash.Seed
	slots atomic.Pointer[slots]
	size  int // the number of accounts
	taken int // the number of slots that are not empty
}

// slots is replaced as a whole when it is half full. Their number is a power of two.
type slots []atomic.Pointer[entry]

// entry is what a call for a live token reads of an account. It is one line of the CPU's cache. It is
// allocated apart from the rest of the account, so that the entries of many accounts are close
// together and more of them are in the cache.
type entry struct {
	Account // the handle that callers get
	// cur is the token in use, or nil before the first one.
	cur current
	// used is the round of [Source.dropIdle] in which the account was last used.
	used atomic.Int32
	tag  uint32 // a part of the hash of the name; see table.search
	of   *account
}

const fewestSlots = 8

// left marks a slot whose account was removed.
var left = new(entry)

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	t.slots.Store(new(slots))
	t.resize()
	return t
}

// find returns the entry of the account of that name, or nil.
func (t *table) find(name string) *entry {
	_, e, _ := t.search(*t.slots.Load(), name)
	return e
}

// search returns the entry of that name with its slot, or nil with the empty slot that ended the
// search, and the name's tag. It reads only names with that tag: the bytes of a string are somewhere
// else in memory.
func (t *table) search(in slots, name string) (tag uint32, e *entry, slot *atomic.Pointer[entry]) {
	hash := maphash.String(t.seed, name)
	tag = uint32(hash >> 32) // the other half of the hash than the one that selects the slot
	for i := hash; ; i++ {
		slot = &in[i&uint64(len(in)-1)] //nolint:gosec // there are at least fewestSlots
		e = slot.Load()
		if e == nil || e.tag == tag && e.name == name && e != left {
			return tag, e, slot
		}
	}
}

// add adds an account whose name is not in the table.
func (t *table) add(a *account) {
	if 2*t.taken >= len(*t.slots.Load()) {
		t.resize()
	}
	tag, _, slot := t.search(*t.slots.Load(), a.name)
	a.tag = tag
	slot.Store(a.entry)
	t.size++
	t.taken++
}

// remove removes the account of that name, if there is one.
func (t *table) remove(name string) {
	_, e, slot := t.search(*t.slots.Load(), name)
	if e == nil {
		return
	}
	slot.Store(left)
	t.size--
	if 16*t.size < len(*t.slots.Load()) {
		t.resize()
	}
}

// resize moves the accounts into new slots, at most a quarter of which are then taken. A search
// that is under way continues in the old slots, which do not change any more.
func (t *table) resize() {
	n := fewestSlots
	for n < 4*t.size {
		n *= 2
	}
	moved := make(slots, n)
	for _, a := range t.all() {
		_, _, slot := t.search(moved, a.name)
		slot.Store(a.entry)
	}
	t.taken = t.size
	t.slots.Store(&moved)
}

// all returns the accounts.
func (t *table) all() []*account {
	in := *t.slots.Load()
	all := make([]*account, 0, t.size)
	for i := range in {
		if e := in[i].Load(); e != nil && e != left {
			all = append(all, e.of)
		}
	}
	return all
}
