"""What steers the choice of subgoals beside the planner: critic, soft choice, actions."""
