import { RUN_DIRECTORY } from "../../system/run-directory.ts";

/** Where sessions reach the running agent; the folder is root's alone, and so is the socket. */
export const AGENT_SOCKET = `${RUN_DIRECTORY}/agent.sock`;
