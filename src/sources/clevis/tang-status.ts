import { LatchkeyError } from "../../system/errors.ts";

/** The statuses that tangd gives (tang src/tangd.c), in words. */
const meanings: Readonly<Record<number, string>> = {
  400: "it calls the request malformed",
  403: "the key is there, but not for exchange",
  405: "it does not take this kind of request",
  500: "it has no keys, or failed inside",
};

/** What an HTTP status other than 200 means for a person. */
export function statusError(server: string, status: number): LatchkeyError {
  if (status === 404) {
    return new LatchkeyError(
      "tang/unknown-key",
      `${server}: it does not have the key that the token is bound to (404)`,
      {
        hint: "the key was deleted there, or another server has this address: enrol again with `latchkey enroll tang`",
      },
    );
  }
  if (status >= 300 && status < 400) {
    return new LatchkeyError(
      "tang/http-status",
      `${server}: it redirects elsewhere (${status}), which is not followed`,
      {
        hint: "a Tang server never redirects: use the address it really has",
      },
    );
  }
  const meaning = meanings[status] ?? "it refuses";
  return new LatchkeyError("tang/http-status", `${server}: ${meaning} (${status})`);
}
