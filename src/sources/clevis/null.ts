import { decodeBase64url } from "../../jose/base64url.ts";
import { type JsonObject, objectMember, stringMember } from "../../jose/json.ts";
import { malformed, quote } from "../../jose/malformed.ts";
import { SecretBytes } from "../../system/secret-bytes.ts";

/**
 * The key of clevis' null pin, which lies in clear in the token: the pin is for tests and protects nothing
 * (clevis src/pins/null/clevis-decrypt-null).
 */
export function nullPinKey(data: JsonObject): SecretBytes {
  const jwk = objectMember(data, "jwk", "the null pin");
  const type = stringMember(jwk, "kty", "the null pin's key");
  if (type !== "oct") throw malformed(`the null pin's key has kty ${quote(type)} instead of "oct"`);
  return SecretBytes.take(decodeBase64url(stringMember(jwk, "k", "the null pin's key"), "k of the null pin"));
}
