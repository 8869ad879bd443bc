/** The operator commands as Hardhat tasks, one file a group. The actions load only when they run. */
import type { TaskDefinition } from "hardhat/types/tasks";
import { appTasks } from "./app-definitions.ts";
import { governanceTasks } from "./governance-definitions.ts";
import { kmsTasks } from "./kms-definitions.ts";

export const operatorTasks: TaskDefinition[] = [...kmsTasks, ...appTasks, ...governanceTasks];
