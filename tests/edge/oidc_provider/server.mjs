// An issuer with clients for every way to a token; `/test/...` is what a test does to it. Arguments:
// the directory of its packages, its port, and one with TLS, where clients may show
// certificates. `clients.json` beside it has further clients, `tls.key`, `tls.pem` and `client.pem`
// what the port with TLS needs.
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { pathToFileURL } from "node:url";

const [packages, httpPort, httpsPort] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${packages}/oidc-provider/lib/index.js`));
const issuer = `http://127.0.0.1:${httpPort}`;

// Keys by their ids, the same after a restart.
function signingKey(kid) {
  const file = `${kid}.json`;
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const jwk = privateKey.export({ format: "jwk" });
    writeFileSync(file, JSON.stringify({ ...jwk, kid, alg: "RS256", use: "sig" }));
  }
  return JSON.parse(readFileSync(file, "utf8"));
}

function clients() {
  const machine = { grant_types: ["client_credentials"], redirect_uris: [], response_types: [] };
  const secret = "the-secret-of-every-client-of-the-tests";
  const certificate = new X509Certificate(readFileSync("client.pem"));
  const jwk = certificate.publicKey.export({ format: "jwk" });
  return [
    { client_id: "plain", client_secret: secret, ...machine },
    { client_id: "dpop", client_secret: secret, ...machine, dpop_bound_access_tokens: true },
    {
      client_id: "mtls",
      ...machine,
      token_endpoint_auth_method: "self_signed_tls_client_auth",
      tls_client_certificate_bound_access_tokens: true,
      jwks: { keys: [{ ...jwk, x5c: [certificate.raw.toString("base64")] }] },
    },
    // Who asks about tokens.
    { client_id: "edge", client_secret: secret, ...machine },
    ...(existsSync("clients.json") ? JSON.parse(readFileSync("clients.json", "utf8")) : []),
  ];
}

// The first key signs.
function provider(kids) {
  return new Provider(issuer, {
    clients: clients(),
    clientAuthMethods: ["client_secret_basic", "self_signed_tls_client_auth"],
    jwks: { keys: kids.map(signingKey) },
    cookies: { keys: ["of the test"] },
    pkce: { required: () => false },
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => true },
      introspection: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (context) => context.socket.getPeerX509Certificate?.(),
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, indicator) => ({
          scope: "read write",
          audience: "harmony-api",
          accessTokenTTL: 600,
          accessTokenFormat: indicator.endsWith("/opaque") ? "opaque" : "jwt",
          jwt: { sign: { alg: "RS256", kid: kids[0] } },
        }),
      },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => { context.body = form; },
      },
    },
    // Whoever signs in is who they say, and agrees.
    interactions: { url: (context, interaction) => `/test/sign-in/${interaction.uid}` },
    findAccount: (context, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    loadExistingGrant: async (context) => {
      const { client, session, provider, params } = context.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid");
      grant.addResourceScope(params.resource, "read write");
      await grant.save();
      return grant;
    },
    // Access tokens say which session they are of.
    extraTokenClaims: (context, token) => (token.sid ? { sid: token.sid } : undefined),
    // The edge is on loopback, which its own way to fetch does not lead to.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  });
}

let current = provider(["k1"]);

async function serve(request, response) {
  const [, test, what, argument] = request.url.split(/[/?]/);
  if (test !== "test") return current.callback()(request, response);
  if (what === "keys") {
    current = provider(argument.split(","));
    return response.end();
  }
  const result = { login: { accountId: "alice" } };
  return current.interactionFinished(request, response, result);
}

createSecureServer(
  {
    key: readFileSync("tls.key"),
    cert: readFileSync("tls.pem"),
    requestCert: true,
    rejectUnauthorized: false,
  },
  serve,
).listen(Number(httpsPort), "127.0.0.1", () => {
  createServer(serve).listen(Number(httpPort), "127.0.0.1");
});
