import { machineTools } from "../sources/clevis/machine-tools.ts";
import { chooseTcti } from "../tpm2/tcti.ts";
import { Tpm } from "../tpm2/tpm.ts";
import type { EnrolmentMeans } from "./enrolment.ts";
import { PersonAtTerminal } from "./person.ts";

export interface MeansOptions {
  /** A TCTI string; TPM2TOOLS_TCTI in the environment wins. */
  readonly tcti: string | undefined;
  /** A PEM file with the authority of https Tang servers. */
  readonly authorityFile: string | undefined;
}

/** This machine's own TPM, network and terminal. */
export function machineMeans({
  tcti,
  authorityFile,
}: MeansOptions): Pick<EnrolmentMeans, "person" | "openTpm" | "openTools"> {
  return {
    person: new PersonAtTerminal(),
    openTpm: () => new Tpm(chooseTcti(tcti, process.env)),
    openTools: () =>
      machineTools({
        tangPatience: 0, // a person waits, and a server that does not answer now proves nothing
        ...(tcti === undefined ? {} : { tcti }),
        ...(authorityFile === undefined ? {} : { authorityFile }),
      }),
  };
}
