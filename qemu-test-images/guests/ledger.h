/* The conversation of ledger (a guest's program) and ledgerclient (outside): messages of 32 bytes each way, host byte order. */
#ifndef LEDGER_H
#define LEDGER_H

#include "guest.h"

enum { LEDGER_ADD = 1, LEDGER_GET = 2, LEDGER_PORT = 7007 };

struct message {
  u64 kind;     /* ADD: enter id; GET: what entry is number? */
  u64 number;   /* of the entry, from 1; 0 in the answer: there is none */
  u64 id;       /* what the client entered */
  u64 chain;    /* over this entry and all before it */
};

static inline u64 chained(u64 before, u64 id) { return mix(before ^ mix(id)); }

#endif
