package tokensource

// storageProblems are problems with the storage and with what it holds.
var storageProblems = []Remedy{
	{
		Problem: "storage_login", Text: loginLostReason, Class: ClassLogin,
		Cause: "The account needs a login, but the storage is full, read-only or out of reach. A login now would end with " +
			"this process.",
		Do:    "[{move_file}. If that is not enough, ]{write_cure}. Then {then_login}" + connectAt,
		quiet: true,
	},
	{
		Problem: "storage_unwritable", Text: "the storage cannot be written",
		Also:  []string{"the storage does not keep what is written"},
		Class: ClassWait,
		Cause: "The storage is full, read-only or out of reach. A refresh token that the provider may replace " +
			"is not sent before a new one can be stored, unless this process knows that it is alone.",
		Do: "[{move_file}. If that is not enough, ]{write_cure}[. Do not restart or reload the server before that, " +
			"because {unsaved}]",
		More: "A live token is still used. The log line \"the storage is in trouble\", the admin API and `caddy " +
			"authinject status` have the path and the reason. The metric `authinject_token_unsaved` is 1 while a token is " +
			"only in memory.",
		match: byReason("the storage cannot be written", "the storage still holds them",
			"the storage does not keep what is written"),
	},
	{
		Problem: "token_lost", Text: lostAtEndReason, Class: ClassLogin,
		Cause: "The provider gave a token while the storage could not be written. The server was stopped before that " +
			"ended. If the provider replaced the refresh token, the stored one is no longer valid.",
		Do: "[{move_file}. If that is not enough, ]{write_cure}. If the account needs a login after the next start, " +
			"{again}",
		More: "Caddy logs this when it stops.",
	},
	{
		Problem: "disconnection_lost", Text: keptAtEndReason, Class: ClassOperator,
		Cause: "A person disconnected the account while the storage could not be written. The server was stopped before " +
			"that ended, so the tokens are still in the storage. If the provider has a revocation endpoint, it was asked to " +
			"revoke them.",
		Do:   "[{move_file}. If that is not enough, ]{write_cure}. After the next start, disconnect the account again",
		More: "Caddy logs this when it stops.",
	},
	{
		Problem: "storage_unreadable", Text: "the storage cannot be read",
		Also:  []string{"the storage cannot be listed"},
		Class: ClassWait,
		Cause: "The storage is out of reach, or this process may not read it.",
		Do:    "[{move_file}. If that is not enough, ]check that the storage is there, and that this process may read it",
	},
	{
		Problem: "record_damaged", Text: "the stored record is damaged", Class: ClassOperator,
		Cause: "Something other than this module changed the record, or it belongs to another account.",
		Do:    "restore the record from a backup, or connect the account again. A new login keeps a copy of the damaged record",
	},
	{
		Problem: "record_newer", Text: "the stored record was written by a newer release", Class: ClassOperator,
		Cause: "A newer release of the module uses or used the same storage.",
		Do:    "run that release, or give this one a storage of its own",
	},
	{
		Problem: "record_sealed", Text: "the stored record is sealed", Class: ClassOperator,
		Cause: "The record was encrypted under a key that is not configured.",
		Do:    "put the key back into encryption_key. An old key belongs behind the new one",
	},
	{
		Problem: "encryption_key", Text: "unusable encryption_key", Class: ClassOperator,
		Cause: "A key cannot be read, or is shorter than 32 characters.",
		Do:    "check the variable or file that encryption_key names",
	},
	{
		Problem: "panic", Text: "the grant or the storage panicked", Class: ClassOperator,
		Cause: "A module has a bug. The process keeps running.",
		Do:    "report the stack in the log to the authors of the module that the stack names",
	},
}
