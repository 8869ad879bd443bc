/** Allows a compose hash of one app. */
import { appListAction, composeHashes } from "../lib/allow-list.ts";

export default appListAction({ task: "app allow-compose", list: composeHashes, allow: true });
