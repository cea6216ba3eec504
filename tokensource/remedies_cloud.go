package tokensource

// cloudProblems are problems of the grants google and azure.
var cloudProblems = []Remedy{
	{
		Problem: "google_metadata", Text: "the Google metadata server did not answer", Class: ClassOperator,
		Cause: "This machine is not in Google Cloud, or a firewall is between it and 169.254.169.254. Outside Google " +
			"Cloud, the grant google needs a file with credentials.",
		Do: "outside Google Cloud, name a file in credentials or in the environment variable " +
			"GOOGLE_APPLICATION_CREDENTIALS. Or run, as the user of this process: gcloud auth application-default login",
	},
	{
		Problem: "google_account", Text: "the Google metadata server has no service account for this machine",
		Class: ClassOperator,
		Cause: "The machine, service or pod runs without a service account.",
		Do:    "attach a service account to it in Google Cloud",
	},
	{
		Problem: "google_scope", Text: "the Google metadata server refuses the request", Class: ClassOperator,
		Cause: "The machine's service account is not allowed to have these scopes, or is not allowed to have an ID token.",
		Do:    "check scopes and id_token, and the access scopes of the machine in Google Cloud",
	},
	{
		Problem: "google_impersonation", Text: "Google does not let this identity impersonate the service account",
		Class: ClassOperator,
		Cause: "The identity of this machine or file lacks the role Service Account Token Creator on that account, or the " +
			"account does not exist.",
		Do: "check impersonate, grant the role roles/iam.serviceAccountTokenCreator on that account, " +
			"and enable the API iamcredentials.googleapis.com in the project",
	},
	{
		Problem: "google_credentials", Text: "the Google credentials file", Class: ClassOperator,
		Cause: "This process cannot read the file of credentials, of GOOGLE_APPLICATION_CREDENTIALS or of gcloud, or the " +
			"file is of a kind that gives no such token.",
		Do: "check the file that credentials or GOOGLE_APPLICATION_CREDENTIALS names, and that this process may read it",
	},
	{
		Problem: "azure_metadata", Text: "the Azure identity endpoint did not answer", Class: ClassOperator,
		Cause: "This machine is not in Azure, or a firewall is between it and 169.254.169.254.",
		Do: "run this server in Azure, with a managed identity or with workload identity. Outside Azure, use another " +
			"grant, such as client_credentials",
	},
	{
		Problem: "azure_identity", Text: "the Azure identity endpoint refuses the request", Class: ClassOperator,
		Cause: "This machine has no managed identity, or it has several and client_id names none of them. Or the tenant " +
			"does not know the resource.",
		Do: "check resource and client_id, and assign the identity to the machine in Azure" + askProvider,
	},
	{
		Problem: "azure_federation", Text: "Entra ID refuses the workload identity", Class: ClassOperator,
		Cause: "The application has no federated credential for this pod's service account, or the tenant does not know " +
			"the resource.",
		Do: "check resource, client_id and AZURE_TENANT_ID. Check the issuer, the subject and the audience of the " +
			"application's federated credential" + askProvider,
	},
	{
		Problem: "azure_environment", Text: "workload identity needs the environment variable",
		Also:  []string{"the file in AZURE_FEDERATED_TOKEN_FILE"},
		Class: ClassOperator,
		Cause: "AZURE_FEDERATED_TOKEN_FILE is set, so the pod uses workload identity, but another variable or the file " +
			"itself is missing.",
		Do: "label the pod azure.workload.identity/use, and annotate its service account with the client id. Check that " +
			"this process may read the file",
	},
}
