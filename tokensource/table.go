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
type slots []atomic.Pointer[account]

const fewestSlots = 8

// left marks a slot whose account was removed.
var left = new(account)

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	t.slots.Store(new(slots))
	t.resize()
	return t
}

// find returns the account of that name, or nil.
func (t *table) find(name string) *account {
	a, _ := t.search(*t.slots.Load(), name)
	return a
}

// search returns the account of that name with its slot, or nil with the empty slot that ended the
// search.
func (t *table) search(in slots, name string) (*account, *atomic.Pointer[account]) {
	hash := maphash.String(t.seed, name)
	for i := hash; ; i++ {
		slot := &in[i&uint64(len(in)-1)] //nolint:gosec // there are at least fewestSlots
		a := slot.Load()
		if a == nil || a.label.is(name, a.name) && a != left {
			return a, slot
		}
	}
}

// label is the length and the beginning of an account's name, stored in the account itself. The
// bytes of a string are somewhere else in memory, and reading them is one more cache miss.
type label struct {
	length uint16 // at most maxAccountName
	head   [38]byte
}

func newLabel(name string) label {
	l := label{length: uint16(len(name))} //nolint:gosec // a name has at most maxAccountName bytes
	copy(l.head[:], name)
	return l
}

// is reports whether l is the label of name. own is the name that l was made of.
func (l *label) is(name, own string) bool {
	if int(l.length) != len(name) {
		return false
	}
	head := min(len(name), len(l.head))
	return string(l.head[:head]) == name[:head] && (head == len(name) || own == name)
}

// add adds an account whose name is not in the table.
func (t *table) add(a *account) {
	a.label = newLabel(a.name)
	if 2*t.taken >= len(*t.slots.Load()) {
		t.resize()
	}
	_, slot := t.search(*t.slots.Load(), a.name)
	slot.Store(a)
	t.size++
	t.taken++
}

// remove removes the account of that name, if there is one.
func (t *table) remove(name string) {
	a, slot := t.search(*t.slots.Load(), name)
	if a == nil {
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
		_, slot := t.search(moved, a.name)
		slot.Store(a)
	}
	t.taken = t.size
	t.slots.Store(&moved)
}

// all returns the accounts.
func (t *table) all() []*account {
	in := *t.slots.Load()
	all := make([]*account, 0, t.size)
	for i := range in {
		if a := in[i].Load(); a != nil && a != left {
			all = append(all, a)
		}
	}
	return all
}
